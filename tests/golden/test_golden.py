"""Today's losses are the kept ones: what changes a curve by accident is seen here."""

from pathlib import Path
from typing import Any

import pytest
from golden_curves import CASES, RENEW, STEPS, distance, machine, made, name_of, read, run


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made(tmp_path_factory.mktemp("golden"))


def kept_curve(case: str) -> list[float]:
    """Return the kept curve of a case, or skip with what to do."""
    name = name_of(case)
    if name is None:
        pytest.skip(f"{case}: this machine does not multiply bf16 natively")
    if name not in read():
        pytest.skip(
            f"no golden curve '{name}' for {machine()}: add it with `{RENEW}` and commit the file"
        )
    return read()[name]


@pytest.mark.parametrize("case", CASES)
def test_losses_are_the_kept_ones(case: str, inputs: dict[str, Any], tmp_path: Path) -> None:
    expected = kept_curve(case)
    found = run(inputs, case, tmp_path)
    far = distance(found, expected)
    assert far <= CASES[case].tolerance, (
        f"{case} is {far:.2e} nats from its golden curve: "
        f"if the change is meant, renew it with `{RENEW}` and say why in the commit"
    )


CHANGES = {
    "another seed": {"seed": 1},
    "another schedule": {"lr_scheduler_type": "linear"},
    "one warm-up step more": {"warmup_steps": 6},
    "learning rate 1 % higher": {"learning_rate": 5.05e-3},
    "another scale of the adapter": {"lora_alpha": 33},
    "another batch": {"per_device_train_batch_size": 7},
    "weight decay": {"weight_decay": 0.01},
    "clipping": {"max_grad_norm": 0.5},
    "another beta": {"adam_beta2": 0.99},
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(change: str, inputs: dict[str, Any], tmp_path: Path) -> None:
    expected = kept_curve("lora-fp32")
    found = run(inputs, "lora-fp32", tmp_path, **CHANGES[change])
    assert distance(found, expected) > 3 * CASES["lora-fp32"].tolerance


def test_the_plain_path_has_the_same_curve(inputs: dict[str, Any], tmp_path: Path) -> None:
    expected = kept_curve("lora-fp32")
    found = run(inputs, "lora-fp32", tmp_path, fast=False)
    assert distance(found, expected) <= CASES["lora-fp32"].tolerance


def test_curves_are_curves() -> None:
    for case in CASES:
        losses = kept_curve(case)
        assert len(losses) == STEPS
        assert losses[-1] < losses[0]
