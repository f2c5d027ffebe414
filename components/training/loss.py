"""Cross-entropy over the trained tokens, summed, so that any split of a batch adds up."""

from functools import partial
from typing import TYPE_CHECKING, Any

from components.contracts.tables import IGNORED
from components.model.head import Head, head_of
from components.training.collate import Inputs
from components.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


def loss_of(settings: TrainingSettings, model: Any) -> "Callable[[Any, Inputs], torch.Tensor]":
    """Return the loss that the settings ask for on `model`, with its head found out once."""
    if not settings.fast:
        return reference_loss
    return partial(answer_loss, head=head_of(model), chunked=settings.chunked_nll)


def answer_loss(
    model: Any, inputs: Inputs, head: Head | None = None, *, chunked: bool = True
) -> "torch.Tensor":
    """Return the summed negative log-likelihood in nats of the labels.

    The head runs on the positions with a label only: the vocabulary is the widest matrix of a
    small model, and most positions of a prompt have nothing to predict. `head` is `head_of(model)`
    (found out here if not given); `chunked` keeps the logits of so many positions at a time that
    they stay small.
    """
    from components.training.chunked_loss import CHUNK, token_loss
    from components.training.on_gpu import Placed

    hidden = model.get_decoder()(**inputs.arguments, use_cache=False).last_hidden_state
    if isinstance(inputs, Placed):
        # A boolean mask would make the host wait for the device to count what is true.
        hidden, targets = hidden.flatten(0, 1).index_select(0, inputs.places), inputs.targets
    else:
        targets = inputs.labels[:, 1:]
        trained = targets != IGNORED
        hidden, targets = hidden[:, :-1][trained], targets[trained]
    rows = max(1, CHUNK // model.config.get_text_config().vocab_size) if chunked else len(hidden)
    weights = [p for p in model.get_output_embeddings().parameters() if p.requires_grad]
    return token_loss(head or head_of(model), hidden, targets, rows=rows, trained=weights)


def reference_loss(model: Any, inputs: Inputs) -> "torch.Tensor":
    """Return the same sum from the model's own forward and all logits."""
    import torch

    logits = model(**inputs.arguments, use_cache=False).logits[:, :-1].float()
    targets = inputs.labels[:, 1:]
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
