"""Which model classes can be exported."""

from components.contracts.errors import ModelError, did_you_mean

ARCHITECTURES = (
    "Ernie4_5ForCausalLM",
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "GemmaForCausalLM",
    "GraniteForCausalLM",
    "HunYuanDenseV1ForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "NemotronForCausalLM",
    "OlmoForCausalLM",
    "Phi3ForCausalLM",
    "PhiForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "SmolLM3ForCausalLM",
)
"""Text decoders with a plain key-value cache that onnxruntime-genai's builder knows."""


def check_architecture(found: str) -> None:
    """Raise `ModelError` naming what is supported unless `found` can be exported."""
    if found not in ARCHITECTURES:
        raise ModelError(
            f"{found} cannot be exported to ONNX{did_you_mean(found, ARCHITECTURES)}",
            fix=f"use a base model of one of: {', '.join(ARCHITECTURES)}",
        )
