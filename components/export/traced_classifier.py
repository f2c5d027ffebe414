"""Encoders with a head for labels: traced, with their labels in config.json beside the graph."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.export.tracing import FILE, Traced, trace

if TYPE_CHECKING:
    import torch

TEXTS, LENGTH = 2, 5
"""Lengths of the example that the graph is traced with; neither stays in it."""


def write_graph(model: Path, out: Path) -> str | None:
    """Write the classifier in the folder `model` to `out` in fp32.

    Inputs are `input_ids` and `attention_mask` [texts, tokens], the output `logits` [texts,
    labels]. Returns the name of the head's last product.
    """
    from transformers import AutoModelForSequenceClassification

    encoder = AutoModelForSequenceClassification.from_pretrained(model, local_files_only=True)
    trace(classifier(encoder.eval()), out / FILE)
    import torch

    layers = [name for name, one in encoder.named_modules() if isinstance(one, torch.nn.Linear)]
    return layers[-1] if layers else None


def classifier(encoder: Any) -> Traced:
    """Return a classifier as a graph from padded texts to logits."""
    import torch

    class Classifier(torch.nn.Module):
        """The logits of the labels."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = encoder

        def forward(self, inputs: "Sequence[torch.Tensor]") -> "torch.Tensor":
            ids, mask = inputs
            logits: torch.Tensor = self.inner(input_ids=ids, attention_mask=mask).logits
            return logits

    # Right ids, so that RoBERTa, which counts places by what is not padding, has all of them.
    values = {
        "input_ids": torch.full((TEXTS, LENGTH), 3, dtype=torch.long),
        "attention_mask": torch.ones(TEXTS, LENGTH, dtype=torch.long),
    }
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in values}
    return Traced(Classifier(), values, axes, ["logits"])
