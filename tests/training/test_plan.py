"""Which rows are seen when, and at what rate."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.errors import DataError
from components.contracts.kinds import Tokens
from components.contracts.tables import IGNORED
from components.training.rows import (
    Batch,
    plan_epoch,
    plan_packed,
    plan_token_budget,
    read_rows,
)
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


def lognormal(mean: float, sigma: float, most: int) -> list[int]:
    rng = random.Random(11)
    return [min(most, max(3, int(rng.lognormvariate(mean, sigma)))) for _ in range(4000)]


@pytest.mark.parametrize(
    "lengths",
    [
        lognormal(6, 0.8, 2048),  # chats
        lognormal(4, 0.3, 2048),  # one-line texts
        lognormal(6.8, 0.7, 2048),  # long answers, many of them as long as a bin
        [random.Random(n).randrange(20, 1500) for n in range(4000)],
        [random.Random(n).randrange(37, 100) for n in range(4000)],
    ],
    ids=["chats", "lines", "long", "even", "tweets"],
)
def test_bins_are_full(lengths: list[int]) -> None:
    plan = plan_packed(lengths, 2048, seed=1, epoch=0)
    assert sorted(row for batch in plan for row in batch) == list(range(len(lengths)))
    assert max(sum(lengths[row] for row in batch) for batch in plan) <= 2048
    assert sum(lengths) / (2048 * len(plan)) >= 0.98


def test_token_budget_bounds_padded_batches_of_like_length() -> None:
    plan = plan_token_budget(LENGTHS, 512, seed=1, epoch=0)
    assert sorted(row for batch in plan for row in batch) == list(range(501))
    padded = [len(batch) * max(LENGTHS[row] for row in batch) for batch in plan]
    assert max(padded) <= 512
    assert sum(padded) < 1.1 * sum(LENGTHS)
    assert len({len(batch) for batch in plan}) > 5, "short rows come in larger batches"
    assert plan != plan_token_budget(LENGTHS, 512, seed=1, epoch=1)


def test_token_budget_may_bound_the_rows_too() -> None:
    plan = plan_token_budget(LENGTHS, 512, seed=1, epoch=0, batch_size=6)
    assert max(map(len, plan)) == 6
    assert sorted(row for batch in plan for row in batch) == list(range(501))


def test_row_longer_than_the_budget_is_alone() -> None:
    plan = plan_token_budget([300, 10, 20], 256, seed=0, epoch=0)
    assert sorted(plan, key=len) == [(0,), (1, 2)]


def digest(plan: list[Batch]) -> str:
    return hashlib.sha256(json.dumps(plan).encode()).hexdigest()[:16]


def test_golden_plans() -> None:
    """The plans of any machine and any version: a run that goes on after a crash relies on it."""
    epoch = plan_epoch(LENGTHS, 16, seed=1, epoch=0)
    assert epoch[0] == (222, 328, 289, 359, 62, 272, 278, 370, 32, 6, 42, 444, 138, 469, 288, 19)
    assert digest(epoch) == "ccb764498cb46729"
    packed = plan_packed(LENGTHS, 256, seed=1, epoch=0)
    assert packed[:2] == [(234, 439, 132, 280), (287, 403, 9, 237, 21)]
    assert digest(packed) == "b6f6d46025471e94"
    budget = plan_token_budget(LENGTHS, 512, seed=1, epoch=0)
    assert budget[0] == (206, 367, 128, 154, 94, 460)
    assert digest(budget) == "c4bbe4d587ced75c"


def test_rows_are_read_as_they_were_written(tiny_tokens: Tokens) -> None:
    rows = read_rows(tiny_tokens.split("train"))
    lines = pq.read_table(tiny_tokens.split("train")).to_pylist()
    assert len(rows) == len(lines) == 60
    for row, line in zip(rows, lines, strict=True):
        assert row.input_ids.tolist() == line["input_ids"]
        assert row.labels.tolist() == line["labels"]
    assert rows.lengths == [line["length"] for line in lines]
    assert rows.trained.tolist() == [row.trained for row in rows]
    assert rows[-1].input_ids.tolist() == lines[-1]["input_ids"]
    assert len(rows[2:5]) == 3
    with pytest.raises(IndexError):
        rows[60]


def test_only_the_first_rows_may_be_read(tiny_tokens: Tokens) -> None:
    rows = read_rows(tiny_tokens.split("train"), 7)
    assert len(rows) == 7
    assert rows[6].input_ids.tolist() == read_rows(tiny_tokens.split("train"))[6].input_ids.tolist()


def test_the_first_token_of_a_row_gives_no_loss(tmp_path: Path) -> None:
    rows = read_rows(table(tmp_path, [[5, 6, 7], [8]], [[5, IGNORED, 7], [8]]))
    assert rows.trained.tolist() == [row.trained for row in rows] == [1, 0]


def test_a_label_that_is_another_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither ignored nor the token"):
        read_rows(table(tmp_path, [[5, 6]], [[IGNORED, 7]]))


def table(folder: Path, ids: list[list[int]], labels: list[list[int]]) -> Path:
    lists = pa.list_(pa.int32())
    columns = {
        "input_ids": pa.array(ids, lists),
        "labels": pa.array(labels, lists),
        "length": pa.array(np.array(list(map(len, ids)), np.int32)),
    }
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    return folder / "rows.parquet"


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


def test_a_recipe_may_plan_by_tokens() -> None:
    settings = TrainingSettings(max_tokens_per_batch=400, gradient_accumulation_steps=2)
    steps = plan_steps(settings, LENGTHS)
    batches = [batch for step in steps for batch in step]
    assert sorted(row for batch in batches for row in batch) == list(range(len(LENGTHS)))
    assert max(len(batch) * max(LENGTHS[row] for row in batch) for batch in batches) <= 400
    assert len({len(batch) for batch in batches}) > 3


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
