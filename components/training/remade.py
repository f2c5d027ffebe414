"""Inputs that the backward pass makes again, instead of keeping them.

The output of a norm or of a gate is kept by the product that reads it, though what it was made of
is kept as well, and making it again costs a few operations on single elements. Whoever makes such
an output says so with `can_be_remade`; whoever would keep it keeps `source_of` it.
"""

from collections.abc import Callable
from typing import Any

import torch

Make = Callable[..., torch.Tensor]
Source = tuple[Make, tuple[torch.Tensor, ...]]
"""A function, and the tensors from which it makes a tensor bit for bit as it was."""


def can_be_remade(output: Any, make: Make, *parts: torch.Tensor) -> Any:
    """Note on `output` that make(*parts) is the same; return it.

    Nobody may change `output` or `parts` in place from then on. What torch derives from `output`
    (a view, a copy) does not carry the note.
    """
    output.remade = make, tuple(part.detach() for part in parts)
    return output


def source_of(x: torch.Tensor) -> Source:
    """Return what to keep in place of `x`: its parts, or itself if nobody noted any."""
    noted: Source | None = getattr(x, "remade", None)
    return noted or (itself, (x,))


def itself(x: torch.Tensor) -> torch.Tensor:
    return x
