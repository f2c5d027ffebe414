"""The `tuneline data` commands as a user meets them: what is printed, where, and exit codes."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from data_project import INPUTS, commit, done, write_rows
from toy_project import Toy

from flows.cli import command
from flows.data_diff import DataDiff
from flows.data_log import Version


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Tuneline = Callable[..., Said]


@pytest.fixture
def tuneline(
    versions_here: Toy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Tuneline:
    """Run `tuneline WORDS` in a project of two versions of its data."""

    def tuneline(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["tuneline", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            sys.exit(command())
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        code = ended.value.code
        return Said(code if isinstance(code, int) else 0, out, err)

    return tuneline


def test_show_prints_rows_and_what_was_left_out(tuneline: Tuneline) -> None:
    said = tuneline("data", "show", "tiny", "--rows", "3")
    assert (said.code, said.err) == (0, "")
    assert "569 rows in, 562 kept, 7 quarantined" in said.out
    assert said.out.count("more.jsonl:") > 9
    for told in ("label_conflict", "not_empty", "psi vocabulary", "data/tiny/dataset/docs/index"):
        assert told in said.out
    assert '" "' in said.out, "what cleaning took away is to be seen"
    assert "first rows of each split" not in tuneline("data", "show", "tiny", "--rows", "0").out


def test_show_as_json_is_the_facts_alone(tuneline: Tuneline) -> None:
    facts = json.loads(tuneline("data", "show", "tiny", "--json").out)
    assert facts["rows"] == {"in": 569, "kept": 562, "quarantined": 7}
    assert facts["warned_rows"]["drift"][0]["value"].endswith(": 0 to 0.2)")


def test_log_and_diff_take_all_recipes_unless_one_is_named(
    tuneline: Tuneline, versions_here: Toy
) -> None:
    said = tuneline("data", "log")
    assert said.code == 0
    assert "more data" in said.out
    assert tuneline("data", "log", "tiny").out == said.out
    versions = [Version.model_validate(one) for one in json.loads(log_json(tuneline))]
    assert [one.subject for one in versions] == ["more data", "first data"]

    said = tuneline("data", "diff", "HEAD~1", "HEAD")
    assert said.code == 0
    assert "+ more.jsonl:" in said.out
    assert tuneline("data", "diff", "HEAD~1", "HEAD", "--recipe", "tiny").out == said.out
    (found,) = json.loads(tuneline("data", "diff", "HEAD~1", "--json").out)
    assert DataDiff.model_validate(found).added.count == 60

    params = versions_here.root / "params.yaml"
    params.write_text("recipes:\n  - tiny\n  - other\n", encoding="utf-8")
    sheet = versions_here.root / "recipes/tiny.yaml"
    (versions_here.root / "recipes/other.yaml").write_bytes(sheet.read_bytes())
    said = tuneline("data", "diff", "HEAD~1", "HEAD")
    assert said.code == 0
    assert "+ more.jsonl:" in said.out
    assert "has no data set of recipe 'other': left out" in said.err
    assert "other: no data set is in git's history yet" in tuneline("data", "log").out


def log_json(tuneline: Tuneline) -> str:
    return tuneline("data", "log", "--json").out


WRONG = {
    ("show", "tinny"): "did you mean 'tiny'?",
    ("log", "tinny"): "did you mean 'tiny'?",
    ("accept", "tinny"): "did you mean 'tiny'?",
    ("mask", "tiny"): "have not been tokenised here\n  → tuneline run tiny",
    ("diff", "nope"): "git knows no revision 'nope'\n  → `tuneline data log tiny`",
    ("diff", "HEAD~2"): "revision HEAD~2 has no data set of recipe 'tiny'",
    ("diff", "tiny", "HEAD~1"): "→ `tuneline data diff HEAD~1 --recipe tiny` names the recipe",
    ("add", "nope.jsonl", "--recipe", "tiny"): "nope.jsonl does not exist",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_is_wrong_is_told_with_the_next_move(tuneline: Tuneline, words: list[str]) -> None:
    said = tuneline("data", *words)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: "), said.err
    assert WRONG[tuple(words)] in said.err


def test_accept_says_where_and_what_to_commit(tuneline: Tuneline, versions_here: Toy) -> None:
    said = tuneline("data", "accept", "tiny")
    assert said.code == 0
    assert "git add data/accepted/tiny" in said.out
    changed = done(versions_here, "git", "status", "--porcelain")
    assert "data/accepted/tiny/holdout.parquet.dvc" in changed
    assert "data/accepted/tiny/profile.json" in changed
    assert "parquet\n" not in changed, "data is not for git"


def test_add_of_what_is_there_prints_json_alone(tuneline: Tuneline, versions_here: Toy) -> None:
    file = write_rows(versions_here.root.parent / "more.jsonl", 60)
    said = tuneline("data", "add", str(file), "--recipe", "tiny", "--json")
    assert said.code == 0
    found = json.loads(said.out)
    assert found["added"]["path"] == "data/inputs/tiny"
    assert not found["added"]["changed"]
    assert found["dataset"]["rows"]["in"] == 569
    assert "there already, nothing to do" in said.err


def test_add_of_rows_that_are_not_fit_says_what_stays(
    tuneline: Tuneline, versions_here: Toy
) -> None:
    file = versions_here.root.parent / "bad.jsonl"
    file.write_text('{"text": "a good one", "label": "good"}\nnot json\n', encoding="utf-8")
    said = tuneline("data", "add", str(file), "--recipe", "tiny")
    assert (said.code, said.out) == (2, "")
    assert f"Mend the file and run this again with --replace, or take it back: rm {INPUTS}" in (
        said.err
    )
    assert "bad.jsonl:2" in said.err.rpartition("error: ")[2]

    for name in ("bad.jsonl", "bad.jsonl.dvc"):
        (versions_here.root / INPUTS / name).unlink()
    commit(versions_here, "taken back")
    assert tuneline("data", "diff", "HEAD~1").out.endswith("the same to the last byte\n")


@pytest.mark.parametrize("command", ["show", "mask", "accept", "add", "diff", "log"])
def test_help_names_every_argument(tuneline: Tuneline, command: str) -> None:
    said = tuneline("data", command, "--help")
    assert said.code == 0
    assert "{file}" not in said.out
    assert "--json" in said.out or command == "accept"
