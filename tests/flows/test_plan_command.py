"""`tuneline plan` and `tuneline verify-resume` as a user meets them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from toy_project import REPOSITORY, Toy

from components.contracts.kinds import BaseModelFolder, Tokens
from components.training import resume
from flows import cli


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the recipe `tiny` and nothing made, as the working directory."""
    root = tmp_path / "project"
    (root / "recipes").mkdir(parents=True)
    shutil.copy(REPOSITORY / "dvc.yaml", root / "dvc.yaml")
    text = (REPOSITORY / "recipes" / "tiny.yaml").read_text(encoding="utf-8")
    text = text.replace("bf16: false", "bf16: false\n  lora_dropout: 0.1")
    (root / "recipes" / "tiny.yaml").write_text(text, encoding="utf-8")
    (root / "params.yaml").write_text("recipes:\n- tiny\n", encoding="utf-8")
    Toy(root).enter(monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return root


@pytest.fixture
def made(project: Path, tiny_base: BaseModelFolder, tiny_tokens: Tokens) -> Path:
    """The same with base model and tokens."""
    shutil.copytree(tiny_base.path, project / "data" / "tiny" / "base")
    shutil.copytree(tiny_tokens.path, project / "data" / "tiny" / "tokens")
    return project


def tuneline(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command in this process; return its exit code."""
    monkeypatch.setattr("sys.argv", ["tuneline", *words])
    try:
        return cli.command()
    except SystemExit as ended:
        return int(ended.code or 0)


def test_without_tokens_it_says_what_makes_them(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("plan", "verify-resume"):
        assert tuneline(monkeypatch, command, "tiny") == 2
        told = " ".join(capsys.readouterr().err.split())
        assert "base and tokens of recipe 'tiny' have not been made here" in told
        assert "dvc repro tokenize@tiny" in told


def test_a_plan_as_json(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--json", "--watts", "100", "--price-per-hour", "3.6")
    assert tuneline(monkeypatch, "plan", "tiny", *words) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["fits"]
    assert plan["steps"] == 16
    assert plan["tokens"] == 4 * plan["tokens_an_epoch"]
    assert plan["memory"]["needed"] < plan["room_bytes"]
    assert len(plan["probe"]["seconds"]) == 5
    assert plan["energy_kwh"] == pytest.approx(plan["seconds"] * 100 / 3.6e6)
    assert plan["money"] == pytest.approx(plan["seconds"] * 3.6 / 3600)
    assert not (made / "data" / "tiny" / "adapter").exists()


def test_a_plan_as_a_table(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuneline(monkeypatch, "plan", "tiny", "--probe-steps", "0") == 0
    out = capsys.readouterr().out
    assert "16 micro-batches" in out
    assert "activations" in out
    assert "tokens/s" not in out


def test_a_plan_that_cannot_fit_is_refused_with_advice(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuneline(monkeypatch, "plan", "tiny", "--json", "--probe-steps", "0") == 0
    memory = json.loads(capsys.readouterr().out)["memory"]
    room = memory["needed"] - (memory["activations"] + memory["allocator"]) // 4
    # The libraries take more or less from process to process: hold them still.
    monkeypatch.setattr("flows.plan.resident_bytes", lambda: memory["runtime"] - 240_000_000)
    assert tuneline(monkeypatch, "plan", "tiny", "--memory-gb", str(room / 1e9)) == 3
    told = capsys.readouterr()
    assert "error: training tiny needs about" in told.err
    assert "training.per_device_train_batch_size: 8, gradient_accumulation_steps: 2" in told.err
    assert "probe" not in told.out
    assert tuneline(monkeypatch, "plan", "tiny", "--memory-gb", "0.001") == 3
    assert "use a smaller base model" in capsys.readouterr().err


def test_resuming_is_certified(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted((made / "data").rglob("*"))
    assert tuneline(monkeypatch, "verify-resume", "tiny", "--steps", "6") == 0
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert lines[-1] == "tiny, cpu: equal, bit for bit: 6 steps and 28 adapter tensors"
    assert sum("equal" in line for line in lines[:-1]) == 6
    assert sorted((made / "data").rglob("*")) == before


def test_a_difference_is_named_and_the_exit_code_is_1(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forget(_: Any) -> None: ...

    monkeypatch.setattr(resume, "put_back", forget)
    assert tuneline(monkeypatch, "verify-resume", "tiny", "--steps", "6") == 1
    out = capsys.readouterr().out
    assert "DIFFERENT" in out
    assert out.rstrip().endswith("tiny, cpu: different from step 2 on: its loss")
