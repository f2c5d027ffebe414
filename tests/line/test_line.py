"""The tiny recipe through every step, for real."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests_line import Line, run_line

from components.scoring.tables import read_scores
from flows.recipe import Recipe


def test_rows_are_all_accounted_for(line: Line) -> None:
    rows = line["dataset"].facts["rows"]
    assert rows["in"] == line["raw"].facts["rows"]
    assert rows["in"] == rows["kept"] + rows["quarantined"]
    assert rows["quarantined"] > 0, "the tiny rows hold dirt on purpose"


def test_tuning_helps_and_the_gate_says_so(line: Line) -> None:
    models = line["evaluation"].facts["models"]
    assert models["tuned"]["accuracy"] > models["base"]["accuracy"] + 0.3
    verdict = line["verdict"].facts
    assert verdict["promote"], verdict["reasons"]
    assert verdict["against_base"]["p"] < 1e-3


def test_exported_fp32_is_the_tuned_model(line: Line) -> None:
    parity = line["verification"].facts["parity"]
    assert parity["passed"]
    assert parity["max_logit_difference"] <= 1e-3
    assert parity["identical_greedy"] == parity["prompts"] > 0
    tuned = read_scores(line["evaluation"].path / "tuned.parquet")
    exported = read_scores(line["verification"].path / "fp32.parquet")
    for ours, theirs in zip(tuned, exported, strict=True):
        assert ours.choice_logprobs == pytest.approx(theirs.choice_logprobs, abs=1e-3)


def test_every_variant_answered_every_item(line: Line) -> None:
    counts = {
        name: facts["metrics"]["items"]
        for name, facts in line["verification"].facts["variants"].items()
    }
    assert counts == dict.fromkeys(("fp32", "int8", "int4"), line["verification"].facts["items"])


def test_report_stands_alone(line: Line) -> None:
    page = (line["report"].path / "report.html").read_text()
    assert "May become champion: int8" in page
    assert page.count("<svg") == 2
    for outside in ("<script", "<link", "src=", "@import", "url(http"):
        assert outside not in page
    samples = [json.loads(s) for s in (line["report"].path / "samples.jsonl").open()]
    assert samples
    assert {"text", "reference", "before", "tuned", "after"} <= set(samples[0])
    card = (line["report"].path / "model_card.md").read_text()
    assert line["verdict"].digest in card


def test_no_artefact_names_this_machine(line: Line) -> None:
    import socket

    for artefact in line.values():
        for file in artefact.path.rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                assert str(artefact.path.parent).encode() not in content, file
                assert len(socket.gethostname()) < 4 or (
                    socket.gethostname().encode() not in content
                ), file


@pytest.mark.slow
def test_again_elsewhere_gives_the_same_bytes(
    line: Line, new_root: Callable[[], Path], tiny_recipe: Recipe
) -> None:
    again = run_line(new_root(), tiny_recipe)
    assert {n: a.digest for n, a in again.items()} == {n: a.digest for n, a in line.items()}
