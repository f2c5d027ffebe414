"""`tuneline bisect`: the version, the file and the rows that made a model worse."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from bisect_project import PLANTED, SHARD, VERSIONS, WRONG_ROWS, make_versions
from toy_project import Toy

from components.contracts.errors import ArtefactError, RecipeError, TunelineError
from components.contracts.events import Heard
from components.contracts.kinds import Raw
from components.scoring.items import Score
from components.scoring.metrics import summarise
from flows.bisect import bisect
from flows.bisect_figures import FIGURES, figure_of, noise
from flows.bisect_rows import changes, mixed, ranges
from flows.bisect_search import most_looks
from flows.bisect_versions import bring, versions_between
from flows.data_diff import UnknownRevisionError

STEPS = 70


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    root = tmp_path_factory.mktemp("bisect") / "project"
    root.mkdir()
    project, commits = make_versions(root)
    return project.root, commits


@pytest.fixture
def here(
    versions: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[str]]:
    """The same, as the working directory and environment of this very process."""
    shutil.copytree(versions[0], tmp_path / "project")
    Toy(tmp_path / "project").enter(monkeypatch)
    return tmp_path / "project", versions[1]


def test_versions_are_the_commits_that_changed_the_rows(here: tuple[Path, list[str]]) -> None:
    root, commits = here
    found = versions_between(root, "tiny", commits[0], "HEAD")
    assert [one.commit for one in found] == commits
    assert len({one.key for one in found}) == VERSIONS


def test_a_change_of_what_the_recipe_says_of_rows_is_a_version(
    here: tuple[Path, list[str]],
) -> None:
    root, _ = here
    file = root / "recipes/tiny.yaml"
    text = file.read_text(encoding="utf-8")
    for old, new in (("lora_r: 16", "lora_r: 8"), ("min_rows: 400", "min_rows: 300")):
        text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")
        Toy(root).run("git", "commit", "-qam", new)
    found = versions_between(root, "tiny", "HEAD~2", "HEAD")
    assert [one.subject for one in found][1:] == ["min_rows: 300"]


def test_rows_come_as_they_were_also_those_that_dvc_keeps(
    here: tuple[Path, list[str]], tmp_path: Path
) -> None:
    root, commits = here
    before, after = versions_between(root, "tiny", commits[PLANTED - 1], commits[PLANTED])
    places = [bring(root, "tiny", one, tmp_path / one.key) for one in (before, after)]
    names = [{file.name for file in (one / "data/inputs/tiny").iterdir()} for one in places]
    assert names[1] - names[0] == {"shard-5.jsonl", SHARD, "shard-5c.jsonl"}
    brought = places[1] / "data/inputs/tiny" / SHARD
    assert brought.read_bytes() == (root / "data/inputs/tiny" / SHARD).read_bytes()


def test_what_is_neither_here_nor_on_a_remote_is_told(
    here: tuple[Path, list[str]], tmp_path: Path
) -> None:
    root, commits = here
    shutil.rmtree(root / ".dvc/cache")
    _, after = versions_between(root, "tiny", commits[PLANTED - 1], commits[PLANTED])
    with pytest.raises(ArtefactError, match="neither in the cache nor on a remote"):
        bring(root, "tiny", after, tmp_path / "there")
    assert not (tmp_path / "there").exists(), "nothing half-made stays"


def test_revisions_that_do_not_serve_are_told(here: tuple[Path, list[str]]) -> None:
    root, commits = here
    with pytest.raises(UnknownRevisionError, match="no revision 'then'"):
        versions_between(root, "tiny", "then", "HEAD")
    with pytest.raises(RecipeError, match="exchanged"):
        versions_between(root, "tiny", commits[2], commits[1])
    with pytest.raises(RecipeError, match="the same at"):
        versions_between(root, "tiny", commits[2], commits[2])
    with pytest.raises(TunelineError, match="did you mean 'accuracy'"):
        bisect(root, "tiny", "acuracy", commits[0], "HEAD")


def raw(folder: Path, files: dict[str, Sequence[str]]) -> Raw:
    with Raw.write(folder) as draft:
        lines = [
            json.dumps({"source": name, "row": n, "fields": {"text": text}}) + "\n"
            for name, texts in files.items()
            for n, text in enumerate(texts, start=1)
        ]
        (draft.folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
        draft.facts = {"rows": len(lines), "columns": ["text"], "name": "x", "license": "y"}
    return Raw.open(folder)


def test_changed_files_are_told_with_the_rows_that_came(tmp_path: Path) -> None:
    before = raw(tmp_path / "before", {"a": ["1", "2", "3"], "b": ["4"], "c": ["5"]})
    after = raw(tmp_path / "after", {"a": ["1", "x", "3", "y", "z"], "c": ["5"], "d": ["6"]})
    told = {one.file: one.told() for one in changes(before, after)}
    assert told == {
        "a": "a: rows 2, 4–5 added (3), 1 removed",
        "b": "b: 1 removed",
        "d": "d: rows 1 added (1)",
    }
    half = mixed(before, after, ["a", "b"], tmp_path / "half")
    assert [one.file for one in changes(half, after)] == ["d"]
    assert changes(mixed(before, after, ["a", "b", "d"], tmp_path / "all"), after) == []
    assert changes(mixed(before, after, [], tmp_path / "none"), before) == []
    assert ranges([]) == []


def score(number: int, right: bool) -> Score:
    loss = 0.5 if right else 2.0 + number / 10
    return Score(str(number), (-0.1, -2.0), 0, 0, right, right, loss, 2, 20.0 + number, 9, 30)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_those_of_the_evaluation(name: str) -> None:
    scores = [score(n, n % 3 > 0) for n in range(30)]
    assert figure_of(name, scores) == pytest.approx(summarise(scores)[name], rel=1e-12)


def test_noise_is_that_of_a_paired_difference() -> None:
    ours = [score(n, n % 2 > 0) for n in range(400)]
    theirs = [score(n, n % 2 > 0 and n % 20 > 1) for n in range(400)]
    assert noise("accuracy", ours, ours) == 0
    # 20 of 400 items differ, all one way: a share of 0.05 ± 1.96 · sqrt(0.05 · 0.95 / 400)
    assert noise("accuracy", ours, theirs) == pytest.approx(0.0214, rel=0.15)
    bare = [replace(one, answer_tokens=0) for one in ours]
    with pytest.raises(ArtefactError, match="no 'accuracy'"):
        figure_of("accuracy", bare)


@pytest.mark.slow
def test_a_planted_shard_is_found_and_an_interrupted_search_goes_on(
    here: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, commits = here
    before = {p.relative_to(root) for p in (root / "data").rglob("*")}

    class Enough(BaseException):
        pass

    class Impatient(Heard):
        def note(self, text: str) -> None:
            if text.startswith("version") and not text.startswith(("version 0", "version 7")):
                raise Enough

    asked = {"metric": "accuracy", "good": commits[0], "bad": "HEAD", "max_steps": STEPS}
    with pytest.raises(Enough):
        bisect(root, "tiny", events=Impatient(), **asked)  # type: ignore[arg-type]
    found = bisect(root, "tiny", **asked)  # type: ignore[arg-type]

    assert found.outcome == "found", found.model_dump_json(indent=1)
    assert found.suspects == [commits[PLANTED]]
    assert found.looks <= most_looks(VERSIONS - 1) == 3
    assert found.file == SHARD
    assert found.file_looks <= 2
    assert f"{SHARD}: rows 1–{WRONG_ROWS} added ({WRONG_ROWS:,})" in found.words()
    assert found.good_figure > 0.8
    assert found.good_figure - found.bad_figure > 2 * found.margin > 0
    assert found.trained == found.measured - 2, "both ends were kept from the first call"
    assert {p.relative_to(root) for p in (root / "data").rglob("*")} == before
    assert_tracked(root, found.measured)

    same = bisect(root, "tiny", **{**asked, "bad": commits[PLANTED - 1]})  # type: ignore[arg-type]
    assert same.outcome == "nothing"
    assert "nothing can be told" in same.words()


def assert_tracked(root: Path, measured: int) -> None:
    """The command prints the same, trains nothing any more and leaves a run with children."""
    from flows.store import client

    words = ("bisect", "tiny", "--metric", "accuracy", "--good", "HEAD~8", "--json")
    done = Toy(root).run(sys.executable, "-m", "flows.cli", *words, "--max-steps", str(STEPS))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["trained"] == 0
    assert told["file"] == SHARD
    store = client()
    experiment = store.get_experiment_by_name("tiny bisect")
    assert experiment is not None
    runs = store.search_runs([experiment.experiment_id])
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs}
    assert len(runs) == 1 + measured
    assert len(parents) == 2
