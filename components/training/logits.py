"""The logits at the trained positions of a batch, from the model's own head."""

from typing import TYPE_CHECKING, Any

from components.contracts.tables import IGNORED
from components.training.collate import Inputs

if TYPE_CHECKING:
    import torch


def trained_logits(
    model: Any, inputs: Inputs, *, fast: bool
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return fp32 logits [trained, vocabulary] and the tokens they are to predict [trained].

    The order is that of the rows, and within a row that of its tokens, in every layout. With `fast`
    the head runs on the positions that are trained in any row of the batch (laid out flat: on the
    trained ones only), else on all.
    """
    targets = inputs.labels[:, 1:]
    trained = targets != IGNORED
    options: dict[str, Any] = {"use_cache": False}
    if fast:
        places = trained.any(dim=0).nonzero().flatten()
        logits = model(**inputs.arguments, **options, logits_to_keep=places).logits
        return logits[trained[:, places]].float(), targets[trained]
    logits = model(**inputs.arguments, **options).logits[:, :-1]
    return logits[trained].float(), targets[trained]
