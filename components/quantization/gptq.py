"""GPTQ: weights rounded one input after the other, the rest of them making up for each error.

Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", with grids fixed beforehand, so that inputs may go in any order.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.contracts.errors import ModelError
from components.quantization.grid import Grid, Rounded, blocks_of, fit_grid

if TYPE_CHECKING:
    import torch

COLUMNS = 128
"""Inputs whose errors are kept back before the rest of the weights hears of them."""


@dataclass(frozen=True)
class Manner:
    """How weights are rounded.

    `damp_percent` is added to the diagonal of the second moments, as a share of its mean;
    `desc_act` rounds the inputs with the largest second moment first. `sweeps` is how often the
    scales are fitted again and every weight is looked at once more after that.
    """

    damp_percent: float = 0.03
    desc_act: bool = True
    sweeps: int = 1


def gptq(
    weight: "torch.Tensor", moments: "torch.Tensor", bits: int, block: int, manner: Manner
) -> Rounded:
    """Return `weight` [outputs, inputs] rounded so that its product with its inputs changes little.

    `moments` [inputs, inputs] is the sum of x·xᵀ over inputs. Raises `ModelError` where it is not
    finite or cannot be inverted.
    """
    damped = with_damping(moments, manner.damp_percent)
    grid = fit_grid(weight, bits, block, damped.diagonal())
    rounded = Rounded(in_turn(weight, damped, grid, manner.desc_act), grid)
    for _ in range(manner.sweeps):
        rounded = Rounded(rounded.codes, refit(weight, damped, rounded))
        rounded = Rounded(sweep(weight, damped, rounded), rounded.grid)
    return rounded


def with_damping(moments: "torch.Tensor", share: float) -> "torch.Tensor":
    """Return the second moments with `share` of their mean diagonal added to the diagonal.

    An input that is always zero counts as one that is seldom there.
    """
    diagonal = moments.diagonal()
    damped = moments.clone()
    damped.diagonal().add_(share * diagonal.mean().clamp(min=1e-12))
    return damped


def in_turn(
    weight: "torch.Tensor", moments: "torch.Tensor", grid: Grid, desc_act: bool
) -> "torch.Tensor":
    """Return the integers [outputs, inputs] of GPTQ's one pass over the inputs."""
    import torch

    inputs = weight.shape[1]
    order = torch.arange(inputs)
    if desc_act:
        order = torch.argsort(moments.diagonal(), descending=True, stable=True)
    upper = inverse_root(moments[order][:, order])
    # Inputs come first here: what is worked on together lies together.
    left = weight.T[order]
    scales, zeros = (one.T[order] for one in grid.wide(inputs))
    codes = torch.empty_like(left)
    for start in range(0, inputs, COLUMNS):
        end = min(start + COLUMNS, inputs)
        part, root = left[start:end], upper[start:end, start:end]
        errors, shares = torch.empty_like(part), root.diagonal().tolist()
        for at in range(end - start):
            scale, zero = scales[start + at], zeros[start + at]
            code = (part[at] / scale + zero).round_().clamp_(0, grid.top)
            codes[start + at] = code
            errors[at] = code.sub_(zero).mul_(scale).sub_(part[at]).div_(-shares[at])
            part[at:].addr_(root[at, at:], errors[at], alpha=-1)
        left[end:].addmm_(upper[start:end, end:].T, errors, alpha=-1)
    back = torch.empty_like(codes)
    back[order] = codes
    return back.T.contiguous()


def inverse_root(moments: "torch.Tensor") -> "torch.Tensor":
    """Return the upper Cholesky factor of the inverse of `moments`."""
    import torch

    lower, failed = torch.linalg.cholesky_ex(moments)
    if not failed:
        upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    if failed or not bool(torch.isfinite(upper).all()):
        raise ModelError(
            "the inputs of a layer cannot be calibrated on: their second moments are not "
            "finite or too alike",
            fix="raise damp_percent (0.05 or 0.1), or nsamples",
        )
    found: torch.Tensor = upper
    return found


def refit(weight: "torch.Tensor", moments: "torch.Tensor", rounded: Rounded) -> Grid:
    """Return the grid whose scales fit the integers best: least squares over the outputs.

    Of every output, Σ over blocks of scale · (integers - zeros) should give what the weights give
    on these inputs. A scale stays positive and within a factor of two.
    """
    import torch

    grid, block = rounded.grid, rounded.grid.block
    _, zeros = grid.wide(weight.shape[1])
    steps = rounded.codes - zeros
    wanted = blocks_of(steps * (weight @ moments), block).sum(-1)
    count = wanted.shape[1]
    system = torch.empty(weight.shape[0], count, count)
    for at in range(count):
        part = slice(at * block, (at + 1) * block)
        system[:, at] = blocks_of(steps * (steps[:, part] @ moments[part]), block).sum(-1)
    ridge = 1e-4 * system.diagonal(dim1=1, dim2=2).mean(-1, keepdim=True) + 1e-30
    system.diagonal(dim1=1, dim2=2).add_(ridge)
    found = torch.linalg.solve(system, wanted + ridge * grid.scales)
    fits = (found > grid.scales / 2) & (found < grid.scales * 2)
    return Grid(torch.where(fits, found, grid.scales), grid.zeros, grid.bits, block)


def sweep(weight: "torch.Tensor", moments: "torch.Tensor", rounded: Rounded) -> "torch.Tensor":
    """Return the integers after each was set to the best one, given all others.

    Coordinate descent over inputs, all outputs at once: Behdin et al. 2023, "QuantEase".
    """
    import torch

    inputs, grid = weight.shape[1], rounded.grid
    scales = grid.wide(inputs)[0].T.contiguous()
    codes = rounded.codes.T.contiguous()
    pull = moments @ (weight - grid.values(rounded.codes)).T  # inputs first, as in `in_turn`
    for start in range(0, inputs, COLUMNS):
        end = min(start + COLUMNS, inputs)
        part, square = pull[start:end].clone(), moments[start:end, start:end]
        changes, own = torch.empty_like(part), square.diagonal().tolist()
        for at in range(end - start):
            scale, code = scales[start + at], codes[start + at]
            best = (part[at] / (scale * own[at])).add_(code).round_().clamp_(0, grid.top)
            changes[at] = (best - code) * scale
            codes[start + at] = best
            part.addr_(square[at], changes[at], alpha=-1)
        pull.addmm_(moments[:, start:end], changes, alpha=-1)
    return codes.T.contiguous()
