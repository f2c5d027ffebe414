"""`tuneline judge`: sheets out and in, the result in words, in a file and in MLflow."""

import csv
import json
from pathlib import Path

import pytest
from judged_project import make_judged, sheet_of
from made_sheet import WORDS
from toy_project import Toy

from components.contracts.errors import ArtefactError, DataError, RecipeError
from components.judging.session import Session
from components.judging.sheet import open_sheet
from flows.judge import command as judge


def fill(file: Path, wins: int, losses: int) -> None:
    """Choose int8's answer (the right word) `wins` times, the base's `losses` times, then ties."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for at, row in enumerate(rows):
        right = WORDS[int(row["prompt"].split("Thing ")[1].split()[0]) % 3]
        ours = "1" if row["answer_1"] == right else "2"
        row["choice"] = ours if at < wins else "21"[int(ours) - 1] if at < wins + losses else "0"
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, rows[0])
        table.writeheader()
        table.writerows(rows)


def test_sheets_of_two_raters_end_in_mlflow(
    toy_here: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.store import client

    run = make_judged(toy_here)
    file = tmp_path / "sheet.csv"
    for rater, wins in (("Ann", 12), ("Bob", 11)):
        judge("toy", rater=rater, samples=15, export_to=file)
        fill(file, wins, 2)
        judge("toy", rater=rater, import_from=file)
    said = capsys.readouterr()
    assert "15 new, 0 changed, 0 unchanged, 0 without a choice" in said.err
    assert "8 of 24 items got the same answer from both and are left out" in said.out
    assert "int8 against base: 12 won, 2 lost, 1 tie of 15 items; win rate 85.7 %" in said.out
    assert "raters agree on" in said.out
    assert f"entered into MLflow run {run}" in said.out

    metrics = client().get_run(run).data.metrics
    name = "judged.base-vs-int8"
    result = json.loads((sheet_of(toy_here) / "result.json").read_text())
    # Bob's 12th is a loss and his 14th a tie: with Ann's they are a tie and a loss.
    assert metrics[f"{name}.overall.wins"] == result["overall"]["wins"] == 11
    assert metrics[f"{name}.overall.win_rate"] == pytest.approx(result["overall"]["win_rate"])
    assert metrics[f"{name}.overall.win_rate_interval.low"] < result["overall"]["win_rate"]
    assert metrics[f"{name}.agreement.alpha"] == pytest.approx(result["agreement"]["alpha"])
    assert metrics[f"{name}.raters"] == 2
    kept = {file.path for file in client().list_artifacts(run, "judged/base-vs-int8")}
    assert {Path(one).name for one in kept} == {"sheet.json", "ratings.jsonl", "result.json"}


def test_a_wrong_sheet_changes_nothing(toy_here: Toy, tmp_path: Path) -> None:
    make_judged(toy_here)
    file = tmp_path / "sheet.csv"
    judge("toy", rater="Ann", export_to=file)
    file.write_text(file.read_text(encoding="utf-8-sig").rstrip() + "9\n")
    with pytest.raises(DataError, match=r"sheet.csv: 1 rows are wrong\s+row 17: choice is '9'"):
        judge("toy", rater="Ann", import_from=file)
    assert not (sheet_of(toy_here) / "ratings.jsonl").exists()


def test_settings_stay_as_they_were_and_the_result_can_be_asked(
    toy_here: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_judged(toy_here)
    judge("toy", rater="Ann", samples=4, seed=3, export_to=tmp_path / "a.csv")
    capsys.readouterr()
    judge("toy", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["samples"], found["seed"], found["pairs"], found["ratings"]) == (4, 3, 4, 0)
    sheet = open_sheet(sheet_of(toy_here))
    assert sheet is not None
    state = Session(sheet, "Ann").state()
    Session(sheet, "Ann").rate(state["pair"]["key"], "0")
    judge("toy", result=True)
    assert "0 won, 0 lost, 1 tie of 1 item; nothing is decided" in capsys.readouterr().out


def test_what_is_wrong_with_the_call_is_said(toy_here: Toy) -> None:
    with pytest.raises(ArtefactError, match="verdict is not a whole artefact"):
        judge("toy")
    make_judged(toy_here)
    with pytest.raises(RecipeError, match="two names are needed"):
        judge("toy", models="int8")
    with pytest.raises(RecipeError, match="no name for a rater"):
        judge("toy", rater="a/b")
    with pytest.raises(RecipeError, match="no recipe 'tiy'"):
        judge("tiy")
    assert not sheet_of(toy_here).exists()


def test_answers_of_an_unknown_run_are_judged_all_the_same(
    toy_here: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_judged(toy_here)
    (toy_here.root / ".tuneline" / "runs" / "toy.json").unlink()
    judge("toy", rater="Ann", export_to=tmp_path / "a.csv")
    fill(tmp_path / "a.csv", 16, 0)
    judge("toy", rater="Ann", import_from=tmp_path / "a.csv")
    assert "no MLflow run is known to have made these answers" in capsys.readouterr().out
    assert json.loads((sheet_of(toy_here) / "result.json").read_text())["overall"]["wins"] == 16
