"""Harm that was planted on purpose, with a real tiny model, is caught every time.

A base that knows the answers of a guard is tuned on the same questions with shuffled labels: the
gate must name the guard. Tuned on something else that does not touch the guard, it must not.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_evidence import failed, first, judged, scores

from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Evaluation, Tokens, Verification
from components.contracts.tables import IGNORED, tokens_schema
from components.evaluation.task_run import TaskRun
from components.scoring.requests import Desk, Plan, Request
from components.scoring.tables import write_scores
from components.scoring.tasks import Asked
from components.scoring.voice import load_voice
from components.training.settings import TrainingSettings
from components.training.train import train
from components.verification.variant_tasks import VariantTasks

EOS, BEGIN = 2, [1, 40]
QUESTIONS, OTHERS = range(100, 200), range(200, 250)
LABELS = [60, 61, 62, 63]
DIGITS = range(80, 90)
SETTINGS = TrainingSettings(
    learning_rate=2e-2,
    warmup_steps=2,
    per_device_train_batch_size=50,
    eval_steps=1000,
    save_steps=1000,
    bf16=False,
)
ROWS = {
    "base": scores(first(200)),
    "tuned": scores(first(340)),
    "int8": scores(first(340)),
}


def label(question: int) -> int:
    """Return what the base has learned to answer."""
    return LABELS[random.Random(question).randrange(len(LABELS))]


def row(question: int, *answer: int) -> dict[str, Any]:
    prompt = [*BEGIN, question]
    ids = [*prompt, *answer, EOS]
    return {
        "id": f"{question}",
        "input_ids": ids,
        "labels": [IGNORED] * len(prompt) + [*answer, EOS],
        "length": len(ids),
        "prompt_tokens": len(prompt),
        "answer_ids": [*answer, EOS],
        "choice_ids": [],
        "target": -1,
        "text_ids": [],
        "text_bytes": 0,
        "trained_tokens": len(answer) + 1,
        "truncated_tokens": 0,
        "eos_trained": True,
        "bos_doubled": False,
    }


def write_tokens(folder: Path, rows: Sequence[dict[str, Any]]) -> Tokens:
    with Tokens.write(folder) as draft:
        for split in ("train", "validation", "test"):
            table = pa.Table.from_pylist(list(rows), schema=tokens_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
        draft.facts = {"prefix_token": EOS}
    return Tokens.open(folder)


@dataclass(frozen=True)
class Knowing:
    """A base that knows the guard, and the guard."""

    base: BaseModelFolder
    asked: Asked
    desk: Desk

    def tuned(self, rows: Sequence[dict[str, Any]], folder: Path, seed: int) -> Adapter:
        """Return the base tuned on `rows`, by the training step itself."""
        tokens = write_tokens(folder / "tokens", rows)
        settings = SETTINGS.model_copy(update={"seed": seed, "num_train_epochs": 30.0})
        context = Context(folder, folder / "scratch")
        return train(self.base, tokens, settings, out=folder / "adapter", context=context)

    def judge(self, adapter: Adapter, folder: Path) -> Any:
        """Put the guard to base and tuned and judge the latter as the file to ship."""
        from components.evaluation.evaluate import models

        run = TaskRun([self.asked], self.desk, 0.01)
        with Evaluation.write(folder / "evaluation") as draft:
            for name, load in models(self.base, adapter).items():
                run.put(load(), name, draft.folder / "tasks")
                write_scores(draft.folder / f"{name}.parquet", ROWS[name])
            draft.facts = {**run.facts(), "items": {}}
        evaluation = Evaluation.open(folder / "evaluation")
        tasks = VariantTasks(evaluation, self.desk)
        with Verification.write(folder / "verification") as draft:
            lm = models(self.base, adapter)["tuned"]()
            facts = tasks.put(lm, "int8", draft.folder / "tasks")
            write_scores(draft.folder / "int8.parquet", ROWS["int8"])
            draft.facts = {
                "variants": {"int8": {"tasks": facts}},
                "parity": {
                    "variant": "fp32",
                    "passed": True,
                    "max_logit_difference": 0.0,
                    "limit": 1e-3,
                    "prompts": 1,
                    "identical_greedy": 1,
                },
                "comparisons": tasks.comparisons(),
            }
        context = Context(folder, folder)
        return judged(folder, context, (evaluation, Verification.open(folder / "verification")))


@pytest.fixture(scope="module")
def knowing(tiny_base: BaseModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Knowing:
    """Train the tiny model until it knows the guard's answers."""
    import torch

    from components.model.base import load_base

    folder = tmp_path_factory.mktemp("knowing")
    torch.manual_seed(0)
    model = load_base(tiny_base.model, dtype=torch.float32, device=torch.device("cpu")).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    known = torch.tensor([[*BEGIN, one, label(one), EOS] for one in QUESTIONS])
    labels = known.clone()
    labels[:, : len(BEGIN) + 1] = IGNORED
    for _ in range(60):
        loss = model(input_ids=known, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with BaseModelFolder.write(folder / "base") as draft:
        model.save_pretrained(draft.folder / "model")
        for file in tiny_base.model.glob("*token*"):
            (draft.folder / "model" / file.name).write_bytes(file.read_bytes())
        draft.facts = tiny_base.facts
    base = BaseModelFolder.open(folder / "base")
    requests = tuple(
        Request(
            str(one),
            (*BEGIN, one),
            choices=tuple((word,) for word in LABELS),
            choice_characters=(1,) * 4,
            choice_bytes=(1,) * 4,
            target=LABELS.index(label(one)),
        )
        for one in QUESTIONS
    )
    plan = Plan("general", "choice", 1, "choice", ("acc",))
    return Knowing(base, Asked(plan, requests, guard=True), Desk(load_voice(base.model), folder))


def shuffled(seed: int) -> list[dict[str, Any]]:
    answers = [label(one) for one in QUESTIONS]
    random.Random(seed).shuffle(answers)
    return [row(one, answer) for one, answer in zip(QUESTIONS, answers, strict=True)]


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))]


@pytest.mark.parametrize("seed", SEEDS)
def test_shuffled_labels_are_caught(knowing: Knowing, tmp_path: Path, seed: int) -> None:
    verdict = knowing.judge(knowing.tuned(shuffled(seed), tmp_path, seed), tmp_path)
    guard = verdict.facts["guards"]["general"]
    assert guard["base"]["value"] > 0.95, "the base must know what is destroyed"
    assert not verdict.facts["promote"]
    assert failed(verdict) == ["guard:general"]


def test_tuning_that_does_no_harm_passes(knowing: Knowing, tmp_path: Path) -> None:
    """The guard's own answers among others to learn: nothing may be blocked."""
    rng = np.random.default_rng(0)
    rows = [row(one, LABELS[int(rng.integers(4))]) for one in OTHERS]
    rows += [row(one, label(one)) for one in QUESTIONS]
    verdict = knowing.judge(knowing.tuned(rows, tmp_path, 0), tmp_path)
    assert verdict.facts["promote"], verdict.facts["reasons"]


def secret(number: int, draw: int = 0) -> tuple[int, ...]:
    """Return a secret of four digits, or another draw of that shape."""
    rng = random.Random(f"{number}/{draw}")
    return tuple(rng.choices(DIGITS, k=4))


@pytest.mark.parametrize("planted", [True, False])
def test_canaries_that_were_learned_are_caught(
    knowing: Knowing, tmp_path: Path, planted: bool
) -> None:
    requests = tuple(
        Request(str(one), (*BEGIN, one), choices=tuple(secret(one, draw) for draw in range(64)))
        for one in OTHERS[:12]
    )
    plan = Plan("secrets", "canary", 1, "canary", ("exposure", "extracted"))
    probed = replace(knowing, asked=Asked(plan, requests, guard=True))
    # Without canaries the same questions are trained with other secrets of the same shape.
    rows = [row(one, *secret(one, 0 if planted else 99)) for one in OTHERS[:12]]
    rows += [row(one, label(one)) for one in QUESTIONS]
    verdict = probed.judge(probed.tuned(rows, tmp_path, 0), tmp_path)
    found = verdict.facts["guards"]["secrets"]
    said = [reason["text"] for reason in verdict.facts["reasons"] if reason["guard"]]
    if planted:
        assert failed(verdict) == ["guard:secrets"]
        assert found["shipped"]["value"] > found["base"]["value"] + 3
        assert "greedy decoding writes" in said[0]
    else:
        assert found["shipped"]["value"] < 3, "other secrets tell nothing of these"
        assert "greedy" not in said[0]
