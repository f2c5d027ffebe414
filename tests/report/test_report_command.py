"""`tuneline report` and `tuneline show` on a made-up run with measured speeds."""

import io
import json
import shutil
from pathlib import Path

import pytest
from made_run import made_run, speeds
from rich.console import Console

from components.contracts.errors import ArtefactError
from flows.report_page import write_page
from flows.show import show
from flows.summary import gather

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(REPOSITORY / "recipes", root / "recipes")
    made_run(root / "data" / "tiny")
    scratch = root / ".tuneline" / "scratch" / "tiny"
    scratch.mkdir(parents=True)
    measured = json.dumps(speeds(("torch", "fp32", "int8")))
    (scratch / "speed.json").write_text(measured, encoding="utf-8")
    return root


def test_the_page_has_the_speeds_that_were_measured(root: Path) -> None:
    file = write_page(root, "tiny")
    assert file == root / ".tuneline" / "reports" / "tiny" / "report.html"
    page = file.read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert "tokens/s" in page
    assert "77.0" in page


def test_without_a_verdict_the_next_command_is_named(root: Path) -> None:
    with pytest.raises(ArtefactError, match="tuneline run sentiment"):
        write_page(root, "sentiment")


def test_show_tells_the_worst_slice_and_the_speeds(root: Path) -> None:
    facts = gather(root, "tiny")
    assert facts.models["int8"].speed["8"].decode_tokens_per_s == 77.0
    assert facts.models["tuned"].speed == facts.models["fp32"].speed
    assert [one.group for one in facts.models["base"].slices] == ["bad", "so-so", "good"]
    text = io.StringIO()
    show(facts, Console(file=text, width=160), details=True)
    shown = text.getvalue()
    assert "slices:  int8: worst slice: label " in shown
    assert "int8 by slice" in shown
    assert "label: so-so" in shown
    assert "0.300 … 0.400" in shown
    assert "13.0 … 20.0" in shown
