"""Weights as small integers: a scale and a zero point for every block of inputs of an output."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SHRINK = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.79, 0.76, 0.72, 0.68)
"""How much of the range of a block its grid may cover: a few weights are cut for the others."""


@dataclass(frozen=True)
class Grid:
    """What integers mean: weight = scale · (integer - zero), for blocks of `block` inputs.

    `scales` and `zeros` [outputs, blocks]; zeros are whole numbers of 0 … 2^bits - 1. The last
    block may hold fewer inputs than the others.
    """

    scales: "torch.Tensor"
    zeros: "torch.Tensor"
    bits: int
    block: int

    @property
    def top(self) -> int:
        """The largest integer."""
        return (1 << self.bits) - 1

    def wide(self, inputs: int) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return scale and zero point of every weight [outputs, inputs]."""
        return tuple(  # type: ignore[return-value]
            one.repeat_interleave(self.block, dim=1)[:, :inputs]
            for one in (self.scales, self.zeros)
        )

    def codes(self, weight: "torch.Tensor") -> "torch.Tensor":
        """Return the nearest integers of `weight` [outputs, inputs], as floats."""
        scales, zeros = self.wide(weight.shape[1])
        return (weight / scales + zeros).round_().clamp_(0, self.top)

    def values(self, codes: "torch.Tensor") -> "torch.Tensor":
        """Return the weights [outputs, inputs] that integers stand for."""
        scales, zeros = self.wide(codes.shape[1])
        return (codes - zeros) * scales


@dataclass(frozen=True)
class Rounded:
    """A weight that was rounded: integers [outputs, inputs] (as floats) and what they mean."""

    codes: "torch.Tensor"
    grid: Grid

    @property
    def weight(self) -> "torch.Tensor":
        """The weight [outputs, inputs] that a product computes with."""
        return self.grid.values(self.codes)


def fit_grid(
    weight: "torch.Tensor", bits: int, block: int, importance: "torch.Tensor | None" = None
) -> Grid:
    """Return the grid with the least squared error, of those that cover part of each block.

    Errors are weighted by `importance` [inputs] (the mean square of an input: what an error there
    does to the output; Lin et al. 2023, AWQ); without it the grid covers the whole range. Zero is
    always on the grid.
    """
    import torch

    parts = blocks_of(weight, block)
    low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
    top = (1 << bits) - 1
    if importance is None:
        scales, zeros = between(low, high, top)
        return Grid(scales, zeros, bits, block)
    weights = blocks_of(importance[None], block)
    best = torch.full_like(low, float("inf"))
    scales, zeros = torch.ones_like(low), torch.zeros_like(low)
    for share in SHRINK:
        scale, zero = between(low * share, high * share, top)
        codes = (parts / scale[..., None] + zero[..., None]).round_().clamp_(0, top)
        error = codes.sub_(zero[..., None]).mul_(scale[..., None]).sub_(parts).square_()
        error = error.mul_(weights).sum(-1)
        better = error < best
        best = torch.where(better, error, best)
        scales, zeros = torch.where(better, scale, scales), torch.where(better, zero, zeros)
    return Grid(scales, zeros, bits, block)


def between(
    low: "torch.Tensor", high: "torch.Tensor", top: int
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return scales and zero points of grids from `low` (≤ 0) to `high` (≥ 0)."""
    scales = ((high - low) / top).clamp(min=1e-12)
    return scales, (-low / scales).round().clamp(0, top)


def nearest(weight: "torch.Tensor", bits: int, block: int) -> Rounded:
    """Return `weight` [outputs, inputs] rounded to the nearest, on grids over whole ranges."""
    grid = fit_grid(weight, bits, block)
    return Rounded(grid.codes(weight), grid)


def blocks_of(values: "torch.Tensor", block: int) -> "torch.Tensor":
    """Return `values` [rows, inputs] as [rows, blocks, block], filled up with zeros."""
    import torch

    missing = -values.shape[1] % block
    filled = torch.nn.functional.pad(values, (0, missing)) if missing else values
    return filled.reshape(values.shape[0], -1, block)
