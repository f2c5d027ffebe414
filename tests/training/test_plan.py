"""Which rows are seen when, and at what rate."""

import random

import pytest

from components.training.rows import plan_epoch, plan_packed
from components.training.schedule import learning_rate
from components.training.settings import TrainingSettings
from components.training.train import plan_steps

RANDOM = random.Random(4)
LENGTHS = [RANDOM.randrange(5, 90) for _ in range(501)]


def test_epoch_sees_every_row_once_in_a_seeded_order() -> None:
    plan = plan_epoch(LENGTHS, 16, seed=1, epoch=0)
    assert sorted(row for batch in plan for row in batch) == list(range(501))
    assert plan == plan_epoch(LENGTHS, 16, seed=1, epoch=0)
    assert plan != plan_epoch(LENGTHS, 16, seed=1, epoch=1)
    assert plan != plan_epoch(LENGTHS, 16, seed=2, epoch=0)


def test_batches_hold_rows_of_like_length() -> None:
    plan = plan_epoch(LENGTHS, 16, seed=1, epoch=0)
    padded = sum(len(batch) * max(LENGTHS[row] for row in batch) for batch in plan)
    assert padded < 1.1 * sum(LENGTHS)


def test_packed_bins_hold_all_rows_within_capacity() -> None:
    plan = plan_packed(LENGTHS, 256, seed=1, epoch=0)
    assert sorted(row for batch in plan for row in batch) == list(range(501))
    assert max(sum(LENGTHS[row] for row in batch) for batch in plan) <= 256
    assert sum(LENGTHS) / (256 * len(plan)) > 0.98


def test_row_longer_than_a_bin_is_alone() -> None:
    assert sorted(plan_packed([300, 10, 20], 256, seed=0, epoch=0), key=len) == [(0,), (2, 1)]


@pytest.mark.parametrize(
    ("epochs", "accumulation", "max_steps", "steps"),
    [(1, 1, -1, 32), (2, 1, -1, 64), (0.5, 1, -1, 16), (1, 4, -1, 8), (3, 1, 10, 10)],
)
def test_number_of_steps(epochs: float, accumulation: int, max_steps: int, steps: int) -> None:
    settings = TrainingSettings(
        num_train_epochs=epochs,
        gradient_accumulation_steps=accumulation,
        max_steps=max_steps,
        per_device_train_batch_size=16,
    )
    assert len(plan_steps(settings, LENGTHS)) == steps


def test_schedules_by_hand() -> None:
    linear = TrainingSettings(learning_rate=1.0, warmup_steps=4, min_lr_ratio=0.1)
    rates = [learning_rate(linear, step, 14) for step in range(1, 15)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[9] == pytest.approx(0.55)
    assert rates == sorted(rates[:4]) + sorted(rates[4:], reverse=True)
    cosine = TrainingSettings(learning_rate=1.0, warmup_steps=0, lr_scheduler_type="cosine")
    assert learning_rate(cosine, 6, 10) == pytest.approx(0.5)
    share = TrainingSettings(learning_rate=1.0, warmup_steps=0.5)
    assert learning_rate(share, 5, 10) == 1.0
