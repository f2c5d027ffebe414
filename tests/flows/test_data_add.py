"""`tuneline data add`: the file is kept by DVC, read by the recipe, and nothing is half done."""

import shutil
from pathlib import Path

import pytest
from data_project import INPUTS, commit, done, make_project, write_rows
from toy_project import Toy

from components.contracts.errors import DataError, RecipeError, SourceError, TunelineError
from components.contracts.kinds import Dataset
from components.validation.accepted import read_accepted
from flows.data_accept import accept, to_accept_first
from flows.data_add import add, validate_now
from flows.graph import changed_stages
from flows.recipe import load_recipe
from flows.source_path import with_path


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("untouched") / "project"
    root.mkdir()
    return make_project(root).root


@pytest.fixture
def fresh(untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A project in which nothing was run yet, as the working directory of this process."""
    shutil.copytree(untouched, tmp_path / "fresh")
    project = Toy(tmp_path / "fresh")
    project.enter(monkeypatch)
    return project


def tree(root: Path) -> dict[str, bytes]:
    """Return all that is there but what DVC and git keep for themselves."""
    files = [f for f in root.rglob("*") if f.is_file()]
    names = {f.relative_to(root).as_posix(): f.read_bytes() for f in files}
    own = (".git/", ".dvc/", ".tuneline/", "mlflow/")
    return {name: content for name, content in names.items() if not name.startswith(own)}


def test_both_files_are_read_and_all_is_clean(versions_here: Toy) -> None:
    root = versions_here.root
    source = load_recipe(root, "tiny").source
    assert source.kind == "file"
    assert source.path == "data/inputs/tiny"
    assert (root / INPUTS / "more.jsonl.dvc").is_file()
    dataset = Dataset.open(root / "data/tiny/dataset")
    assert dataset.facts["rows"]["in"] == 509 + 60
    assert dataset.facts["drift"], "the first data is what drift is measured from"

    assert "up to date" in done(versions_here, "dvc", "status")
    assert "didn't change, skipping" in done(versions_here, "dvc", "repro")
    assert done(versions_here, "git", "status", "--porcelain") == ""


def test_test_rows_that_were_there_are_guarded(versions_here: Toy) -> None:
    accepted = read_accepted(versions_here.root / "data/accepted/tiny")
    facts = Dataset.open(versions_here.root / "data/tiny/dataset").facts
    assert 0 < len(accepted.holdout) < facts["splits"]["test"]
    assert accepted.profile is not None


def test_a_tested_data_set_is_to_be_accepted_before_others_replace_it(versions_here: Toy) -> None:
    root, sheet = versions_here.root, versions_here.root / "recipes/tiny.yaml"
    (root / "data/tiny/evaluation").mkdir()
    assert to_accept_first(root, "tiny", changed_stages(root, "tiny")) is None, "nothing changed"

    text = sheet.read_text(encoding="utf-8")
    sheet.write_text(text.replace("seed: 7", "seed: 8", 1), encoding="utf-8")
    said = to_accept_first(root, "tiny", changed_stages(root, "tiny"))
    assert said is not None
    assert "`tuneline data accept tiny`" in said

    accept(root, "tiny")
    assert to_accept_first(root, "tiny", changed_stages(root, "tiny")) is None


def test_what_is_there_already_changes_nothing(versions_here: Toy, tmp_path: Path) -> None:
    before = tree(versions_here.root)
    added = add(versions_here.root, "tiny", write_rows(tmp_path / "more.jsonl", 60))
    assert not added.changed
    again = add(versions_here.root, "tiny", versions_here.root / INPUTS / "more.jsonl")
    assert not again.changed
    assert tree(versions_here.root) == before


def test_a_file_changed_where_it_lies_is_kept_anew(versions_here: Toy) -> None:
    file = write_rows(versions_here.root / INPUTS / "more.jsonl", 50, seed=2)
    content = file.read_bytes()
    assert add(versions_here.root, "tiny", file).changed
    file.unlink()
    done(versions_here, "dvc", "checkout")
    assert file.read_bytes() == content


def test_another_content_needs_replace(versions_here: Toy, tmp_path: Path) -> None:
    root, before = versions_here.root, tree(versions_here.root)
    file = write_rows(tmp_path / "more.jsonl", 50, seed=2)
    with pytest.raises(SourceError, match=r"more.jsonl is there already.*\n.*--replace"):
        add(root, "tiny", file)
    assert tree(root) == before

    added = add(root, "tiny", file, replace=True)
    assert (added.changed, added.tracked, added.accepted) == (True, "dvc", True)
    assert (root / INPUTS / "more.jsonl").read_bytes() == file.read_bytes()
    assert "modified" in done(versions_here, "dvc", "status")
    done(versions_here, "dvc", "checkout")
    assert (root / INPUTS / "more.jsonl").read_bytes() == file.read_bytes()


def test_a_file_that_git_keeps_stays_with_git(fresh: Toy, tmp_path: Path) -> None:
    rows = (fresh.root / INPUTS / "rows.jsonl").read_text(encoding="utf-8").splitlines(True)
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(rows[:-1]), encoding="utf-8")
    added = add(fresh.root, "tiny", file, replace=True)
    assert (added.tracked, added.accepted) == ("git", False)
    assert not (fresh.root / INPUTS / "rows.jsonl.dvc").exists()
    assert added.path == "data/inputs/tiny/rows.jsonl"


def test_only_the_path_of_the_recipe_changes(fresh: Toy, tmp_path: Path) -> None:
    sheet = fresh.root / "recipes/tiny.yaml"
    before = sheet.read_text(encoding="utf-8")
    add(fresh.root, "tiny", write_rows(tmp_path / "more.jsonl", 3))
    after = sheet.read_text(encoding="utf-8")
    assert after == before.replace("data/inputs/tiny/rows.jsonl", "data/inputs/tiny")


def test_a_pattern_where_the_folder_holds_more(fresh: Toy, tmp_path: Path) -> None:
    (fresh.root / INPUTS / "notes.txt").write_text("not rows", encoding="utf-8")
    added = add(fresh.root, "tiny", write_rows(tmp_path / "more.jsonl", 3))
    assert added.path == "data/inputs/tiny/*.jsonl"
    assert 'path: "data/inputs/tiny/*.jsonl"' in (fresh.root / "recipes/tiny.yaml").read_text()
    more = add(fresh.root, "tiny", write_rows(tmp_path / "third.jsonl", 3, seed=3))
    assert more.changed
    assert more.path == added.path


def test_rows_not_brought_here_count_too(fresh: Toy, tmp_path: Path) -> None:
    sheet = fresh.root / "recipes/tiny.yaml"
    rows = fresh.root / INPUTS / "rows.jsonl"
    (fresh.root / INPUTS / "eval.jsonl").touch()
    done(fresh, "git", "rm", "-q", "--cached", str(rows))
    done(fresh, "dvc", "add", "-q", str(rows))
    rows.unlink()
    before = sheet.read_bytes()
    with pytest.raises(RecipeError, match=r"means .*more.jsonl, .*rows.jsonl and nothing else"):
        add(fresh.root, "tiny", write_rows(tmp_path / "more.jsonl", 3))
    assert sheet.read_bytes() == before


def test_a_folder_that_git_hides_from_dvc_is_told(fresh: Toy, tmp_path: Path) -> None:
    (fresh.root / ".gitignore").write_text("/data/*/\n!/data/inputs/\n", encoding="utf-8")
    before = tree(fresh.root)
    with pytest.raises(TunelineError, match=r"DVC does not see .*more.jsonl.dvc"):
        add(fresh.root, "tiny", write_rows(tmp_path / "more.jsonl", 3))
    assert tree(fresh.root) == before


REFUSED = {
    "missing.jsonl": "does not exist",
    "rows.xml": "'.xml' tells no format",
    ".hidden.jsonl": "would not be read",
    "more.csv": "several formats",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_changes_nothing(fresh: Toy, tmp_path: Path, name: str) -> None:
    if name != "missing.jsonl":
        write_rows(tmp_path / name, 2)
    before = tree(fresh.root)
    with pytest.raises(TunelineError, match=REFUSED[name]):
        add(fresh.root, "tiny", tmp_path / name)
    assert tree(fresh.root) == before


def test_an_error_of_dvc_leaves_all_as_it_was(versions_here: Toy, tmp_path: Path) -> None:
    root = versions_here.root
    file = write_rows(tmp_path / "more.jsonl", 50, seed=2)
    add(root, "tiny", write_rows(tmp_path / "warm.jsonl", 2, seed=9))
    before = tree(root)
    (root / ".dvc/config").write_text("[core\n", encoding="utf-8")
    with pytest.raises(TunelineError, match="DVC"):
        add(root, "tiny", file, replace=True)
    assert tree(root) == before


def test_other_sources_are_not_replaced(fresh: Toy, tmp_path: Path) -> None:
    sheet = fresh.root / "recipes/tiny.yaml"
    text = sheet.read_text(encoding="utf-8")
    url = "kind: url\n  url: https://example.org/rows.jsonl\n  sha256: null"
    sheet.write_text(
        text.replace("kind: file\n  path: data/inputs/tiny/rows.jsonl", url), encoding="utf-8"
    )
    before = tree(fresh.root)
    with pytest.raises(RecipeError, match=r"source.kind is 'url'.*\n.*kind: file"):
        add(fresh.root, "tiny", write_rows(tmp_path / "more.jsonl", 3))
    assert tree(fresh.root) == before


def test_bad_rows_are_told_by_the_validation(fresh: Toy) -> None:
    with (fresh.root / INPUTS / "rows.jsonl").open("a", encoding="utf-8") as stream:
        stream.write("not json\n")
    commit(fresh, "bad")
    lines: list[str] = []
    with pytest.raises(DataError, match=r"rows.jsonl.*510"):
        validate_now(fresh.root, "tiny", lines.append)
    assert any("Running stage 'ingest@tiny'" in line for line in lines)


PLACES = {
    "source: {path: a/b, license: x}\n": "source: {path: NEW, license: x}\n",
    "source:\r\n  path: 'a/b'  # where\r\n": "source:\r\n  path: NEW  # where\r\n",
    '# ä\nsource:\n  path:\n    "a/b"\n': "# ä\nsource:\n  path:\n    NEW\n",
}


@pytest.mark.parametrize("text", PLACES)
def test_not_one_other_character_changes(text: str) -> None:
    assert with_path(text, "a/*.x", "r") == PLACES[text].replace("NEW", '"a/*.x"')
    assert with_path(text, "a/b", "r") == text


def test_an_alias_is_not_followed() -> None:
    with pytest.raises(RecipeError, match="by itself"):
        with_path("model: {path: &p a/b}\nsource: {path: *p}\n", "c", "recipes/x.yaml")
