"""Checkpoints on disk: whole or not at all, found when damaged, written when it is time."""

import os
import resource
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from components.contracts.errors import SpaceError
from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from components.training.keeper import Keeper, StoppedError, heeding_sigterm
from components.training.settings import TrainingSettings
from components.training.train import prepare, train

SETTINGS = TrainingSettings(
    learning_rate=1e-2, per_device_train_batch_size=10, max_steps=6, save_steps=4, bf16=False
)


def state(step: int, numbers: int = 2000) -> dict[str, Any]:
    return {"fingerprint": "x", "step": step, "weights": torch.arange(numbers) + step}


def steps_in(folder: Path) -> list[int]:
    return [int(file.name[11:19]) for file in checkpoints(folder)]


def test_the_newest_is_read_and_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 100):
        save_checkpoint(tmp_path / "run", step, state(step))
    assert steps_in(tmp_path / "run") == [100, 10]
    found = load_checkpoint(tmp_path / "run", "x", print)
    assert found is not None
    assert torch.equal(found["weights"], state(100)["weights"])


@pytest.mark.parametrize("damage", ["cut", "one bit", "empty"])
def test_damage_is_found_told_and_the_one_before_taken(tmp_path: Path, damage: str) -> None:
    for step in (5, 10):
        save_checkpoint(tmp_path / "run", step, state(step))
    newest = next(checkpoints(tmp_path / "run"))
    content = bytearray(newest.read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    newest.write_bytes({"cut": content[:-700], "one bit": content, "empty": b""}[damage])
    told: list[str] = []
    found = load_checkpoint(tmp_path / "run", "x", told.append)
    assert found is not None
    assert found["step"] == 5
    assert told == ["checkpoint-00000010… is damaged or of another run: left out"]
    assert steps_in(tmp_path / "run") == [5]


def test_of_another_run_nothing_is_read(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run", 5, state(5))
    assert load_checkpoint(tmp_path / "run", "y", print) is None
    assert load_checkpoint(tmp_path / "none", "y", print) is None


def test_checkpoints_of_a_run_before_make_room(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "one", 5, state(5))
    save_checkpoint(tmp_path / "two", 1, state(1))
    assert [folder.name for folder in tmp_path.iterdir()] == ["two"]


@pytest.mark.parametrize("room", [0, 5000], ids=["at once", "half way"])
def test_full_disk_keeps_the_last_checkpoint(tmp_path: Path, room: int) -> None:
    """A limit on the size of files stops the write in the kernel, as a full disk does."""
    folder = tmp_path / "run"
    save_checkpoint(folder, 1, state(1, numbers=10))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(SpaceError, match=r"checkpoint of step 2 .*\n.*goes on from the last"):
            save_checkpoint(folder, 2, state(2, numbers=100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    found = load_checkpoint(folder, "x", print)
    assert found is not None
    assert found["step"] == 1
    assert len(list(folder.iterdir())) == 1


def test_sigterm_writes_a_checkpoint_and_the_next_run_goes_on(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    class Terminated(Heard):
        def metrics(self, step: int, values: Any) -> None:
            super().metrics(step, values)
            if step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    out = tmp_path / "adapter"
    cut = replace(context, events=Terminated())
    with pytest.raises(StoppedError, match=r"stopped after step 3 of 6\n.*goes on") as error:
        train(tiny_base, tiny_tokens, SETTINGS, out=out, context=cut)
    assert error.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    resumed = train(tiny_base, tiny_tokens, SETTINGS, out=out, context=context)
    assert isinstance(context.events, Heard)
    assert "resuming after step 3" in context.events.notes
    whole = replace(context, scratch=tmp_path / "else", events=Heard())
    assert train(tiny_base, tiny_tokens, SETTINGS, out=out, context=whole).digest == resumed.digest


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone() -> None:
    asked = threading.Event()
    seen: list[Any] = []

    def look() -> None:
        with heeding_sigterm(asked):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_a_checkpoint_every_so_many_minutes(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"save_steps": 100, "save_minutes": 1.0})
    trainer = prepare(tiny_base, tiny_tokens, settings, context)
    clock = iter(range(0, 1000, 25))
    trainer.save = keep = Keeper(tmp_path / "run", "x", clock=lambda: next(clock))
    trainer.run()
    # Seconds 25, 50, 75: saved after step 3, at 100. Then 125, 150: the last step is not asked.
    assert steps_in(keep.folder) == [3]


def test_how_often_is_saved_may_change_before_going_on(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, tmp_path: Path
) -> None:
    class Killed(Heard):
        def metrics(self, step: int, values: Any) -> None:
            if step == 5:
                raise KeyboardInterrupt

    cut = replace(context, events=Killed())
    with pytest.raises(KeyboardInterrupt):
        train(tiny_base, tiny_tokens, SETTINGS, out=tmp_path / "a", context=cut)
    often = SETTINGS.model_copy(update={"save_steps": 1, "save_total_limit": 1})
    train(tiny_base, tiny_tokens, often, out=tmp_path / "a", context=context)
    assert isinstance(context.events, Heard)
    assert "resuming after step 4" in context.events.notes
    assert not (context.scratch / "train").exists()
