"""Two processes that train together give what one gives, and survive what one survives."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from group_runs import Job, launched
from pydantic import ValidationError
from safetensors.torch import load_file

from components.contracts.errors import ModelError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.training import many
from components.training.group import ALONE, buckets
from components.training.settings import TrainingSettings
from components.training.train import plan_steps, train

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-2,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 2,
    "max_steps": 8,
    "eval_steps": 3,
    "save_steps": 2,
    "average_last": 0.3,
    "bf16": False,
    "num_processes": 2,
}
FULL = {"finetuning_type": "full", "learning_rate": 1e-3}
# 60 rows in batches of 4 are 15: the fourth step of an epoch of two processes has three of them,
# so one process takes one micro-batch less than the other.
JOBS: dict[str, dict[str, Any]] = {
    "plain": {},
    "token budget": {"changes": {"max_tokens_per_batch": 100}},
    "dropout, cut": {"changes": {"lora_dropout": 0.1}, "fault": "cut", "step": 6},
    "dropout, asked": {"changes": {"lora_dropout": 0.1}, "fault": "asked"},
    "dropout": {"changes": {"lora_dropout": 0.1}},
    "memory": {"fault": "memory"},
    "nan": {"fault": "nan", "changes": {"on_nonfinite": "skip"}},
    "pairs": {"changes": {"loss_type": "sigmoid", "learning_rate": 1e-3}},
    "sharded": {"changes": FULL | {"fsdp": True}},
    "sharded, cut": {"changes": FULL | {"fsdp": True}, "fault": "cut", "step": 6},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("group")


@pytest.fixture(scope="module")
def together(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, pair_tokens: Tokens, folder: Path
) -> dict[int, dict[str, Any]]:
    """Run every job in one group of two processes: to start one takes longer than all of them."""
    jobs = []
    for name, job in JOBS.items():
        tokens = pair_tokens if name == "pairs" else tiny_tokens
        changes = SETTINGS | job.get("changes", {})
        jobs.append(Job(name, tiny_base.path, tokens.path, folder, **(job | {"changes": changes})))
    return launched(jobs)


def alone(
    base: BaseModelFolder, tokens: Tokens, folder: Path, **changes: Any
) -> tuple[list[float], Adapter, Heard]:
    """Train in this one process with as many micro-batches a step as two take together."""
    heard = Heard()
    folder.mkdir()
    settings = SETTINGS | {"num_processes": 1, "gradient_accumulation_steps": 4} | changes
    context = Context(folder, folder / "scratch", heard)
    made = train(base, tokens, TrainingSettings(**settings), out=folder / "made", context=context)
    return [values["loss"] for _, values in heard.curve if "loss" in values], made, heard


def weights(artefact: Path) -> dict[str, Any]:
    return load_file(next((artefact / "model").glob("*.safetensors")))


def same_weights(one: Path, other: Path, tolerance: float) -> None:
    ours, theirs = weights(one), weights(other)
    assert set(ours) == set(theirs)
    for name, tensor in ours.items():
        assert float((tensor - theirs[name]).abs().max()) <= tolerance, name


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("plain", {}),
        ("token budget", {"max_tokens_per_batch": 100}),
        ("memory", {}),
        ("sharded", FULL),
    ],
)
def test_two_processes_have_the_losses_and_the_weights_of_one(
    together: dict[int, dict[str, Any]],
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    folder: Path,
    tmp_path: Path,
    name: str,
    changes: dict[str, Any],
) -> None:
    expected, made, heard = alone(tiny_base, tiny_tokens, tmp_path / "alone", **changes)
    assert together[0][name]["losses"] == pytest.approx(expected, abs=1e-4)
    assert len(expected) >= 5
    same_weights(folder / name, made.path, 1e-4)
    ours, theirs = Adapter.open(folder / name).facts, made.facts
    assert ours["num_processes"] == 2
    assert "num_processes" not in theirs
    assert ours["tokens"] == theirs["tokens"]
    assert ours["best_eval_loss"] == pytest.approx(theirs["best_eval_loss"], abs=1e-4)
    evaluated = [one["eval_loss"] for one in together[0][name]["told"] if "eval_loss" in one]
    assert evaluated == pytest.approx(
        [values["eval_loss"] for _, values in heard.curve if "eval_loss" in values], abs=1e-4
    )


def test_pairs_tell_the_rewards_of_all_processes(
    together: dict[int, dict[str, Any]],
    tiny_base: BaseModelFolder,
    pair_tokens: Tokens,
    tmp_path: Path,
) -> None:
    changes = {"loss_type": "sigmoid", "learning_rate": 1e-3}
    expected, _, heard = alone(tiny_base, pair_tokens, tmp_path / "alone", **changes)
    assert together[0]["pairs"]["losses"] == pytest.approx(expected, abs=1e-4)
    for name in ("rewards/margins", "rewards/accuracies", "eval_rewards/margins"):
        told = [values[name] for values in together[0]["pairs"]["told"] if name in values]
        theirs = [values[name] for _, values in heard.curve if name in values]
        assert told == pytest.approx(theirs, abs=1e-4), name


def test_the_first_process_alone_tells_and_writes(
    together: dict[int, dict[str, Any]], folder: Path
) -> None:
    for name in JOBS:
        assert together[0][name]["marks"] >= 5, name
        other = together[1][name]
        assert [other["told"], other["notes"], other["marks"]] == [[], [], 0], name
        assert not list((folder / f"{name}-scratch").iterdir()), "checkpoints and shares go"


@pytest.mark.parametrize(
    ("name", "how", "step"),
    [("dropout", "cut", 4), ("sharded", "cut", 4), ("dropout", "asked", 3)],
    ids=["cut", "cut, in parts", "SIGTERM to one of them"],
)
def test_going_on_from_a_checkpoint_is_bit_for_bit(
    together: dict[int, dict[str, Any]], folder: Path, name: str, how: str, step: int
) -> None:
    whole, cut = Adapter.open(folder / name), Adapter.open(folder / f"{name}, {how}")
    assert f"resuming after step {step}" in together[0][f"{name}, {how}"]["notes"]
    assert cut.digest == whole.digest
    assert cut.facts == whole.facts


def test_dropout_is_not_the_same_in_both(
    together: dict[int, dict[str, Any]],
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tmp_path: Path,
) -> None:
    """Each draws its own: the curve is another than that of one process that draws for all."""
    expected, _, _ = alone(tiny_base, tiny_tokens, tmp_path / "alone", lora_dropout=0.1)
    found = together[0]["dropout"]["losses"]
    assert found != pytest.approx(expected, abs=1e-4)
    assert found == pytest.approx(expected, abs=1.0)


def test_memory_that_runs_out_in_one_process_is_agreed_on(
    together: dict[int, dict[str, Any]], folder: Path
) -> None:
    facts = Adapter.open(folder / "memory").facts
    assert facts["out_of_memory"] >= 1
    assert facts["max_tokens_per_micro_batch"] < 4 * 17
    notes = together[0]["memory"]["notes"]
    assert any("step 3: out of memory; taken again" in note for note in notes), "process 1 ran out"


def test_a_loss_that_is_not_finite_in_one_process_is_skipped_by_both(
    together: dict[int, dict[str, Any]], folder: Path
) -> None:
    assert Adapter.open(folder / "nan").facts["skipped_steps"] == 1
    assert len(together[0]["nan"]["losses"]) == 7
    assert any("step 3: loss or gradient not finite" in n for n in together[0]["nan"]["notes"])


def job(base: BaseModelFolder, tokens: Tokens, folder: Path, **changes: Any) -> Job:
    return Job("made", base.path, tokens.path, folder, SETTINGS | changes)


def test_a_process_that_is_killed_ends_the_group_and_it_goes_on(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, tmp_path: Path, context: Context
) -> None:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    whole = job(tiny_base, tiny_tokens, tmp_path / "whole")
    cut_off = replace(whole, folder=tmp_path / "cut", fault="killed", step=6)
    launched([whole])
    with pytest.raises(ChildFailedError, match="SIGKILL"):
        launched([cut_off])
    assert not (tmp_path / "cut" / "made").exists()
    found = launched([replace(cut_off, fault="")])
    assert "resuming after step 4" in found[0]["made"]["notes"]
    one, other = (Adapter.open(tmp_path / name / "made") for name in ("whole", "cut"))
    assert (one.digest, one.facts) == (other.digest, other.facts)


def test_num_processes_starts_them_and_passes_on_what_they_tell(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    settings = TrainingSettings(**SETTINGS)
    made = train(tiny_base, tiny_tokens, settings, out=tmp_path / "made", context=context)
    assert made.facts["num_processes"] == 2
    assert isinstance(context.events, Heard)
    assert [step for step, values in context.events.curve if "loss" in values] == [*range(1, 9)]
    assert ("train", 8, 8) in context.events.marks


def test_errors_of_a_process_reach_the_caller(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    settings = TrainingSettings(**SETTINGS | {"lora_target_modules": ["nothing_of_the_kind"]})
    with pytest.raises(ModelError, match=r"nothing_of_the_kind.*\n.*use all-linear"):
        train(tiny_base, tiny_tokens, settings, out=tmp_path / "made", context=context)


def test_a_listener_that_fails_ends_the_group(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, tmp_path: Path
) -> None:
    class Deaf(Heard):
        def metrics(self, step: int, values: Any) -> None:
            raise ConnectionError("the tracking server is gone")

    context = Context(tmp_path, tmp_path, Deaf())
    with pytest.raises(ConnectionError, match="tracking server"):
        train(
            tiny_base,
            tiny_tokens,
            TrainingSettings(**SETTINGS),
            out=tmp_path / "a",
            context=context,
        )


def test_a_step_of_two_processes_is_that_of_twice_the_accumulation() -> None:
    lengths = list(range(5, 65))
    two = plan_steps(TrainingSettings(**SETTINGS), lengths)
    more = SETTINGS | {"num_processes": 1, "gradient_accumulation_steps": 4}
    assert two == plan_steps(TrainingSettings(**more), lengths)
    assert [len(step) for step in two] == [4] * 7 + [2]


def test_one_alone_changes_nothing() -> None:
    batches = [(1, 2), (3,)]
    assert ALONE.share(batches) is batches
    assert ALONE.any(True, False) == (True, False)
    assert ALONE.total(3) == 3
    assert (ALONE.least(None), ALONE.least(7)) == (None, 7)
    assert ALONE.mean({"a": 1.0}, 0) == {"a": 1.0}


def test_buckets_hold_one_dtype_and_bound_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from components.training import group

    monkeypatch.setattr(group, "BUCKET", 10)
    sizes = [(4, torch.float32), (7, torch.float32), (2, torch.float32), (3, torch.bfloat16)]
    parameters = [torch.nn.Parameter(torch.zeros(n, dtype=dtype)) for n, dtype in sizes]
    found = [[p.numel() for p in bucket] for bucket in buckets(parameters)]
    assert found == [[4, 7], [2], [3]]


@pytest.mark.parametrize(
    "changes",
    [
        {"fsdp": True, "num_processes": 2},
        {"fsdp": True, "finetuning_type": "full"},
        {"fsdp": True, "finetuning_type": "full", "num_processes": 2, "loss_type": "sigmoid"},
    ],
)
def test_what_fsdp_cannot_cut_up_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="fsdp"):
        TrainingSettings(**changes)


def test_fewer_gpus_than_processes_is_told_before_any_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    many.need_devices(2)
    with pytest.raises(ModelError, match=r"num_processes: 4.*2 GPU.*\n.*set it to 2"):
        many.need_devices(4)
