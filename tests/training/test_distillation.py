"""A teacher's logits: the formula, the cache, and what a student has of them on unseen rows."""

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from made_language import PLACE, SETTINGS, fetch_random, run, write_tokens, write_well_read
from pydantic import ValidationError

from components.contracts.errors import ModelError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.model.pruning_settings import PruningSettings
from components.sources.settings import RandomModel
from components.training.distillation import divergence, gathered
from components.training.objective_settings import DistillationSettings
from components.training.settings import TrainingSettings
from components.training.train import prepare, train
from components.training.verify_resume import verify_resume

TAUGHT = SETTINGS.model_copy(update={"distillation": DistillationSettings(alpha=0.9, top_k=8)})


@pytest.fixture(scope="module")
def taught_base(tiny_base: BaseModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A student that knows nothing, and a teacher that has read many rows."""
    folder = tmp_path_factory.mktemp("teacher")
    write_well_read(tiny_base, folder)
    return fetch_random(folder, teacher={"kind": "file", "path": PLACE, "title": "well-read"})


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return write_tokens(tmp_path_factory.mktemp("few") / "tokens", 16)


@pytest.fixture(scope="module")
def taught(
    taught_base: BaseModelFolder, few: Tokens, tmp_path_factory: pytest.TempPathFactory
) -> Adapter:
    return run(taught_base, few, tmp_path_factory.mktemp("taught"), TAUGHT)


def test_all_tokens_apart_are_the_whole_divergence() -> None:
    torch.manual_seed(0)
    teacher, student = torch.randn(5, 9), torch.randn(5, 9)
    p, q = (logits.div(3).softmax(-1) for logits in (teacher, student))
    expected = float((p * (p / q).log()).sum())
    ids = teacher.topk(8).indices
    found = divergence(gathered(teacher, ids, 3.0), gathered(student, ids, 3.0))
    assert float(found) == pytest.approx(expected, rel=1e-4)
    few_ids = teacher.topk(3).indices
    coarser = divergence(gathered(teacher, few_ids, 3.0), gathered(student, few_ids, 3.0))
    assert 0 < float(coarser) < expected, "putting tokens together can only hide differences"
    same = divergence(gathered(teacher, few_ids, 3.0), gathered(teacher, few_ids, 3.0))
    assert float(same) == pytest.approx(0, abs=1e-6)


def test_a_certain_teacher_gives_finite_gradients() -> None:
    teacher = torch.tensor([[200.0, 0.0, -5.0, 1.0]])
    student = torch.tensor([[-100.0, 3.0, 0.0, 100.0]], requires_grad=True)
    ids = teacher.topk(2).indices
    loss = divergence(gathered(teacher, ids, 1.0), gathered(student, ids, 1.0))
    loss.backward()
    assert student.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


def test_a_student_with_a_teacher_beats_one_without(
    taught_base: BaseModelFolder, few: Tokens, taught: Adapter, tmp_path: Path
) -> None:
    alone = run(taught_base, few, tmp_path, SETTINGS).facts["best_eval_loss"]
    facts = taught.facts["distillation"]
    assert facts["teacher"] == "well-read"
    assert facts["teacher_eval_loss"] < facts["eval_loss_before"] - 1
    with_teacher = taught.facts["best_eval_loss"]
    assert with_teacher < alone - 0.05, "both are label losses on the same unseen rows"
    assert with_teacher > facts["teacher_eval_loss"] - 0.05


def test_the_curve_tells_both_parts_of_the_loss(taught: Adapter) -> None:
    with taught.curve.open(encoding="utf-8") as stream:
        points = list(csv.DictReader(stream))
    for point in points:
        loss, labels, apart = (
            float(point[name]) for name in ("loss", "label_loss", "teacher_divergence")
        )
        assert loss == pytest.approx(0.1 * labels + 0.9 * 4 * apart, rel=1e-5)
    assert float(points[-1]["teacher_divergence"]) < 0.3 * float(points[0]["teacher_divergence"])


@pytest.mark.parametrize("packing", [False, True])
def test_what_was_kept_is_what_the_teacher_says(
    taught_base: BaseModelFolder, few: Tokens, tmp_path: Path, packing: bool
) -> None:
    losses = []
    for fast, top_k in ((True, None), (True, 258), (False, None)):
        settings = SETTINGS.model_copy(
            update={
                "distillation": DistillationSettings(top_k=top_k),
                "fast": fast,
                "packing": packing,
                "packing_length": 70,
                "max_steps": 5,
                "eval_steps": None,
            }
        )
        scratch = tmp_path / f"{fast}-{top_k}"
        context = Context(root=tmp_path, scratch=scratch, events=Heard())
        trainer = prepare(taught_base, few, settings, context)
        trainer.run()
        losses.append([point["loss"] for point in trainer.progress.curve])
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert losses[2] == pytest.approx(losses[0], abs=1e-4)


class Killed(Exception):
    """Stands for a power cut."""


class KillAt(Heard):
    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        super().metrics(step, values)
        if step == 7:
            raise Killed


def test_a_killed_run_goes_on_bit_for_bit_without_asking_again(
    taught_base: BaseModelFolder, few: Tokens, taught: Adapter, tmp_path: Path
) -> None:
    context = Context(root=tmp_path, scratch=tmp_path / "scratch", events=KillAt())
    with pytest.raises(Killed):
        train(taught_base, few, TAUGHT, out=tmp_path / "adapter", context=context)
    heard = Heard()
    context = Context(root=tmp_path, scratch=tmp_path / "scratch", events=heard)
    resumed = train(taught_base, few, TAUGHT, out=tmp_path / "adapter", context=context)
    assert "resuming after step 5" in heard.notes
    assert not any(label == "teacher" for label, _, _ in heard.marks)
    assert resumed.digest == taught.digest


@pytest.mark.parametrize("top_k", [8, None])
def test_resuming_can_be_certified(
    taught_base: BaseModelFolder, few: Tokens, context: Context, top_k: int | None
) -> None:
    distillation = DistillationSettings(top_k=top_k)
    settings = SETTINGS.model_copy(update={"distillation": distillation, "num_train_epochs": 2})
    assert verify_resume(taught_base, few, settings, steps=4, context=context).equal


def test_a_pruned_student_can_have_a_teacher(
    taught_base: BaseModelFolder, few: Tokens, tmp_path: Path
) -> None:
    settings = TAUGHT.model_copy(update={"pruning": PruningSettings(), "max_steps": 8})
    facts = run(taught_base, few, tmp_path, settings).facts
    assert facts["pruning"]["eval_loss_recovered"] < facts["pruning"]["eval_loss_pruned"]
    assert facts["distillation"]["eval_loss_before"] == facts["pruning"]["eval_loss_pruned"]


def test_a_teacher_must_be_there(
    tiny_base: BaseModelFolder, few: Tokens, context: Context, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"model\.teacher"):
        train(tiny_base, few, TAUGHT, out=tmp_path / "adapter", context=context)


def test_a_teacher_of_another_vocabulary_is_refused(
    taught_base: BaseModelFolder, few: Tokens, context: Context, tmp_path: Path
) -> None:
    folder = tmp_path / "base"
    with BaseModelFolder.write(folder) as draft:
        shutil.copytree(taught_base.model, draft.folder / "model")
        shutil.copytree(taught_base.teacher, draft.folder / "teacher")
        file = draft.folder / "teacher" / "tokenizer.json"
        swapped = file.read_text(encoding="utf-8").replace("<|im_start|>", "<|start|>")
        file.write_text(swapped, encoding="utf-8")
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            other = draft.folder / "teacher" / name
            if other.is_file():
                text = other.read_text(encoding="utf-8").replace("<|im_start|>", "<|start|>")
                other.write_text(text, encoding="utf-8")
        draft.facts = taught_base.facts
    with pytest.raises(ModelError, match=r"another vocabulary.*1 of 259.*im_start"):
        train(BaseModelFolder.open(folder), few, TAUGHT, out=tmp_path / "a", context=context)


def test_teacher_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError, match="distillation goes with loss_type nll"):
        TrainingSettings(loss_type="sigmoid", distillation=DistillationSettings())
    random = {"kind": "random"}
    with pytest.raises(ValidationError, match="a teacher has no teacher"):
        RandomModel.model_validate({**random, "teacher": {**random, "teacher": random}})
