"""Cross-entropy over the trained tokens, summed, so that any split of a batch adds up."""

from typing import TYPE_CHECKING, Any

from components.contracts.tables import IGNORED
from components.training.collate import Inputs

if TYPE_CHECKING:
    import torch


def answer_loss(model: Any, inputs: Inputs) -> "torch.Tensor":
    """Return the summed negative log-likelihood in nats of the labels.

    The head runs on the positions with a label only: the vocabulary is the widest matrix of a
    small model, and most positions of a prompt have nothing to predict.
    """
    import torch

    hidden = model.get_decoder()(**inputs.arguments, use_cache=False).last_hidden_state
    targets = inputs.labels[:, 1:]
    trained = targets != IGNORED
    logits = model.get_output_embeddings()(hidden[:, :-1][trained])
    return torch.nn.functional.cross_entropy(logits.float(), targets[trained], reduction="sum")


def reference_loss(model: Any, inputs: Inputs) -> "torch.Tensor":
    """Return the same sum from the model's own forward and all logits."""
    import torch

    logits = model(**inputs.arguments, use_cache=False).logits[:, :-1].float()
    targets = inputs.labels[:, 1:]
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
