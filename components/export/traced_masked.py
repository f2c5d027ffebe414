"""Encoders with a masked-language head: traced, with config.json beside the graph."""

from pathlib import Path

from components.export.traced_classifier import classifier
from components.export.tracing import FILE, trace


def write_graph(model: Path, out: Path) -> str | None:
    """Write the masked-language model in the folder `model` to `out` in fp32.

    Inputs are `input_ids` and `attention_mask` [texts, tokens], the output `logits` [texts, tokens,
    vocabulary]. Returns the name of the head's last product.
    """
    from transformers import AutoModelForMaskedLM

    encoder = AutoModelForMaskedLM.from_pretrained(model, local_files_only=True).eval()
    trace(classifier(encoder), out / FILE)
    head = encoder.get_output_embeddings()
    return next((name for name, module in encoder.named_modules() if module is head), None)
