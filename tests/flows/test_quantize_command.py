"""`tuneline quantize` as a user meets it."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from toy_project import REPOSITORY, Toy

from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from flows import cli

ONLY = ("--only", "gptq-g32", "--only", "int8-g64", "--samples", "20")


@pytest.fixture
def project(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
) -> Path:
    """A project with the recipe `tiny`, its base and its tokens, as the working directory."""
    root = tmp_path / "project"
    (root / "recipes").mkdir(parents=True)
    for name in ("dvc.yaml", "recipes/tiny.yaml"):
        shutil.copy(REPOSITORY / name, root / name)
    (root / "params.yaml").write_text("recipes:\n- tiny\n", encoding="utf-8")
    for kind in (tiny_base, tiny_tokens):
        shutil.copytree(kind.path, root / "data" / "tiny" / kind.kind)
    Toy(root).enter(monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return root


def tuneline(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command in this process; return its exit code."""
    monkeypatch.setattr("sys.argv", ["tuneline", *words])
    try:
        return cli.command()
    except SystemExit as ended:
        return int(ended.code or 0)


def test_before_training_it_says_what_makes_the_adapter(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuneline(monkeypatch, "quantize", "tiny") == 2
    assert "dvc repro train@tiny" in capsys.readouterr().err
    assert tuneline(monkeypatch, "quantize", "tiny", "--only", "gptq-g23") == 2
    assert "did you mean 'gptq-g32'" in capsys.readouterr().err


def test_it_finds_writes_and_refuses(
    project: Path,
    tiny_adapter: Adapter,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(tiny_adapter.path, project / "data" / "tiny" / "adapter")
    recipe = project / "recipes" / "tiny.yaml"
    before = recipe.read_text(encoding="utf-8")
    words = ("quantize", "tiny", *ONLY, "--within", "90%", "--write")
    assert tuneline(monkeypatch, *words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["chosen"]["name"] == "gptq-g32"
    assert told["split"] == "validation"
    after = recipe.read_text(encoding="utf-8")
    assert yaml.safe_load(after)["export"]["int4"] == {"algo_config": "gptq"}
    assert [line for line in before.splitlines() if line not in after.splitlines()] == []

    assert tuneline(monkeypatch, "quantize", "tiny", *ONLY, "--within", "0.0001%") == 3
    shown = capsys.readouterr()
    assert "int8-g64" in shown.out
    assert "beyond" in shown.out
    assert "none of 2 files is within 0.0001 %" in shown.err
    assert recipe.read_text(encoding="utf-8") == after
    assert {file.name for file in (project / ".tuneline" / "quantize" / "tiny").iterdir()} == {
        "front.json",
        "front.svg",
    }
