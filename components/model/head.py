"""From hidden states to logits, exactly as the model itself does it.

The head alone is not always the whole of it: Gemma 2 caps the logits, Granite and Cohere scale
them, other families may do anything. So the model's own forward is asked, with its decoder set
aside; only where that is found to be the head and nothing more, the head is called directly.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError

if TYPE_CHECKING:
    import torch

Head = Callable[["torch.Tensor"], "torch.Tensor"]
"""Hidden states [n, width] → logits [n, vocabulary]."""

PROBED = 4
"""Random hidden states that the head is tried on."""

LARGE = 100.0
"""The largest logit of the trial: a cap of 30 or 50 shows there, and not near zero."""


def head_of(model: Any) -> Head:
    """Return what turns the last hidden states of `model` into its logits."""
    head = model.get_output_embeddings()
    # Without numbers (a model that is only planned with) there is nothing to try.
    if head is not None and (head.weight.is_meta or is_all(model, head)):
        plain: Head = head
        return plain
    return lambda hidden: own_logits(model, hidden)


def is_all(model: Any, head: Any) -> bool:
    """Say whether the model's logits are `head` of the last hidden states and nothing more."""
    import torch

    with torch.no_grad():
        hidden = trial(head)
        alone = head(hidden)
        hidden = hidden * (LARGE / alone.abs().max().clamp_min(1e-6)).to(hidden.dtype)
        alone, own = head(hidden).float(), own_logits(model, hidden).float()
    return alone.shape == own.shape and bool((alone - own).abs().max() < 1e-2 * LARGE)


def trial(head: Any) -> "torch.Tensor":
    """Return hidden states [PROBED, width]; the random state of the run is left alone."""
    import torch

    weight = head.weight
    generator = torch.Generator().manual_seed(0)
    width = getattr(head, "in_features", weight.shape[-1])
    return torch.randn(PROBED, width, generator=generator).to(weight.device, weight.dtype)


def own_logits(model: Any, hidden: "torch.Tensor") -> "torch.Tensor":
    """Return logits [n, vocabulary] of hidden states [n, width] by the model's own forward.

    Raises:
        ModelError: the model does not take its decoder's output for what follows.
    """
    import torch

    ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
    with decoder_answers(model, hidden[None]) as asked:
        logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits[0]
    if not asked:
        raise ModelError(
            f"{type(model).__name__} does not ask its decoder for hidden states",
            fix="set training.fast: false",
        )
    return logits


class Answer:
    """A decoder's output that holds the hidden states [1, n, width] and nothing else."""

    def __init__(self, hidden: "torch.Tensor") -> None:
        self.last_hidden_state = hidden

    def __getitem__(self, place: int) -> "torch.Tensor":
        return (self.last_hidden_state,)[place]

    def __getattr__(self, name: str) -> None:
        """Families pass on what their decoders may give besides: attentions, router logits …"""


@contextmanager
def decoder_answers(model: Any, hidden: "torch.Tensor") -> Iterator[list[bool]]:
    """Make the decoder of `model` answer `hidden` [1, n, width] inside the block.

    The list that is given gets an entry for each time it is asked.
    """
    decoder = model.get_decoder()
    asked: list[bool] = []

    def forward(*_: Any, **__: Any) -> Answer:
        asked.append(True)
        return Answer(hidden)

    before, compiled = decoder.__dict__.get("forward"), decoder._compiled_call_impl
    decoder.forward, decoder._compiled_call_impl = forward, None
    try:
        yield asked
    finally:
        decoder._compiled_call_impl = compiled
        if before is None:
            del decoder.forward
        else:
            decoder.forward = before
