"""Tiny models with random weights of many families, as base artefacts."""

import shutil
from pathlib import Path
from typing import Any

from components.contracts.kinds import BaseModelFolder

VOCABULARY = 259
ENDS = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
DEEP = ENDS | {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
}
GPT2 = ENDS | {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}
UNEVEN = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT2),
    "llama": ("llama", DEEP | {"tie_word_embeddings": False}),
    "mistral": ("mistral", DEEP | {"sliding_window": 8}),
    "qwen2": ("qwen2", DEEP | {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", DEEP),
    "gemma": ("gemma", DEEP),
    "gemma2": ("gemma2", DEEP | UNEVEN | {"final_logit_softcapping": 3.0}),
    "gemma3": ("gemma3_text", DEEP | UNEVEN),
    "granite": ("granite", DEEP | {"logits_scaling": 4.0, "embedding_multiplier": 6.0}),
}
SCALED: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma3, capped": ("gemma3_text", DEEP | UNEVEN | {"final_logit_softcapping": 3.0}),
    "cohere": ("cohere", DEEP | {"logit_scale": 0.25}),
    "nanochat": ("nanochat", DEEP | {"final_logit_softcapping": 0.5}),
}
"""More families whose logits are not those of the head alone."""

OPT = ENDS | {"hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
NEOX = {
    name: value for name, value in DEEP.items() if name not in ("num_key_value_heads", "head_dim")
}
EXPORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "opt": ("opt", OPT | {"word_embed_proj_dim": 64, "max_position_embeddings": 256}),
    "gpt_neox": ("gpt_neox", NEOX),
}
"""More families that are exported by tracing."""


def make_model(family: str) -> Any:
    """Return a model of a family, its weights large enough that every part of it shows."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind, values = (FAMILIES | SCALED | EXPORTED)[family]
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**values, initializer_range=0.1)
    return AutoModelForCausalLM.from_config(config).eval()


def write_base(family: str, folder: Path, tokenizer_of: BaseModelFolder) -> BaseModelFolder:
    """Write a base artefact with a random model and the tokenizer of another base."""
    model = make_model(family)
    with BaseModelFolder.write(folder) as draft:
        model.save_pretrained(draft.folder / "model")
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copyfile(tokenizer_of.model / name, draft.folder / "model" / name)
        draft.facts = {"title": f"random {family}", "architecture": type(model).__name__}
    return BaseModelFolder.open(folder)
