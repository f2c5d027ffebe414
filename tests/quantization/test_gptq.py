import pytest
import torch

from components.contracts.errors import ModelError
from components.quantization.gptq import Manner, gptq, inverse_root, with_damping
from components.quantization.grid import Rounded, fit_grid, nearest
from components.quantization.packing import pack, unpack

OUTPUTS, INPUTS, BLOCK = 24, 90, 32  # the last block is not full


def correlated(seed: int = 0, rows: int = 400) -> torch.Tensor:
    """Return inputs [rows, INPUTS] of which a few directions hold most."""
    made = torch.Generator().manual_seed(seed)
    few = torch.randn(rows, 12, generator=made)
    mix = torch.randn(12, INPUTS, generator=torch.Generator().manual_seed(7))
    return few @ mix + 0.1 * torch.randn(rows, INPUTS, generator=made)


def weight() -> torch.Tensor:
    return torch.randn(OUTPUTS, INPUTS, generator=torch.Generator().manual_seed(1))


def error(rounded: Rounded, inputs: torch.Tensor) -> float:
    return float(((rounded.weight - weight()) @ inputs.T).square().sum())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("desc_act", [True, False])
def test_it_beats_rounding_to_the_nearest_on_inputs_it_has_not_seen(
    bits: int, desc_act: bool
) -> None:
    inputs, others = correlated(), correlated(seed=5)
    manner = Manner(desc_act=desc_act, sweeps=0)
    calibrated = gptq(weight(), inputs.T @ inputs, bits, BLOCK, manner)
    plain = nearest(weight(), bits, BLOCK)
    assert error(calibrated, others) < 0.5 * error(plain, others)


def test_each_sweep_makes_the_error_smaller() -> None:
    inputs = correlated()
    moments = inputs.T @ inputs
    errors = [
        error(gptq(weight(), moments, 4, BLOCK, Manner(sweeps=sweeps)), inputs)
        for sweeps in (0, 1, 3)
    ]
    assert errors[2] < errors[1] < errors[0]


def test_a_grid_that_knows_the_inputs_loses_less() -> None:
    inputs = correlated()
    importance = (inputs.T @ inputs).diagonal() * torch.logspace(-2, 2, INPUTS)
    weighted = fit_grid(weight(), 4, BLOCK, importance)
    plain = fit_grid(weight(), 4, BLOCK)

    def lost(grid: object) -> float:
        codes = grid.codes(weight())  # type: ignore[attr-defined]
        off = grid.values(codes) - weight()  # type: ignore[attr-defined]
        return float((off.square() * importance).sum())

    assert lost(weighted) < lost(plain)


@pytest.mark.parametrize("bits", [4, 8])
def test_what_is_packed_is_what_was_rounded(bits: int) -> None:
    inputs = correlated()
    rounded = gptq(weight(), inputs.T @ inputs, bits, BLOCK, Manner())
    codes, scales, zeros = pack(rounded)
    assert codes.shape == (OUTPUTS, 3, BLOCK * bits // 8)
    assert zeros.shape == (OUTPUTS, -(-3 * bits // 8))
    back = unpack(codes, scales, zeros, INPUTS, bits, BLOCK)
    assert torch.equal(torch.from_numpy(back), rounded.weight)


def test_the_same_inputs_give_the_same_integers() -> None:
    inputs = correlated()
    one, other = (gptq(weight(), inputs.T @ inputs, 4, BLOCK, Manner()) for _ in range(2))
    assert torch.equal(one.codes, other.codes)
    assert torch.equal(one.grid.scales, other.grid.scales)


def test_an_input_that_is_never_there_is_no_trouble() -> None:
    inputs = correlated()
    inputs[:, 3] = 0
    rounded = gptq(weight(), inputs.T @ inputs, 4, BLOCK, Manner())
    assert torch.isfinite(rounded.weight).all()
    assert error(rounded, inputs) < error(nearest(weight(), 4, BLOCK), inputs)


def test_inputs_that_are_not_numbers_are_told() -> None:
    moments = with_damping(torch.full((4, 4), float("nan")), 0.01)
    with pytest.raises(ModelError, match="cannot be calibrated on"):
        inverse_root(moments)
