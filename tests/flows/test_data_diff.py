"""`tuneline data diff` and `log`: what two versions of the data are told apart by."""

import io
import json
import shutil

import pyarrow.parquet as pq
import pytest
from data_project import INPUTS, commit, done
from rich.console import Console
from toy_project import Toy

from components.contracts.errors import ArtefactError, RecipeError
from components.contracts.kinds import Dataset
from flows.data_diff import DataDiff, diff
from flows.data_diff_page import print_diff
from flows.data_log import log, print_log


def printed(show: object, *values: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    show(*values, console)  # type: ignore[operator]
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_added_rows_are_told_by_split(versions_here: Toy) -> None:
    found = diff(versions_here.root, "tiny", "HEAD~1", "HEAD")

    assert not found.same
    assert found.added.count == sum(found.rows_after.values()) - sum(found.rows_before.values())
    assert sum(found.added.by_split.values()) == found.added.count >= 55
    assert [one.count for one in (found.removed, found.changed, found.moved)] == [0, 0, 0]
    assert len(found.added.examples) == 5
    assert found.added.examples[0].place.startswith("more.jsonl:")
    assert set(found.labels_after) == {"good", "fair", "poor"}
    assert found.drift["new_words"] > 0
    assert found.quarantined_before["duplicate"] == found.quarantined_after["duplicate"] == 3
    assert diff(versions_here.root, "tiny", "HEAD~1") == found.model_copy(update={"new": None})
    assert DataDiff.model_validate(json.loads(found.model_dump_json())) == found


def test_the_other_way_round_they_are_removed(versions_here: Toy) -> None:
    there = diff(versions_here.root, "tiny", "HEAD~1", "HEAD")
    back = diff(versions_here.root, "tiny", "HEAD", "HEAD~1")
    assert back.removed.by_split == there.added.by_split
    assert back.added.count == 0


def test_a_version_is_the_same_as_itself(versions_here: Toy) -> None:
    found = diff(versions_here.root, "tiny", "HEAD")
    assert found.same
    assert "the same to the last byte" in printed(print_diff, found)


def test_every_kind_of_change_is_told_apart(versions_here: Toy) -> None:
    dataset = Dataset.open(versions_here.root / "data/tiny/dataset")
    tables = {split: pq.read_table(dataset.split(split)) for split in ("train", "test")}
    train = tables["train"].to_pylist()
    other = "poor" if train[0]["answer"] == "good" else "good"
    train[0] |= {"answer": other, "references": [other]}
    train[1] |= {"messages": "[]"}
    gone, moved = train.pop(5), train.pop(6)
    twin = dict(train[2])
    schema = tables["train"].schema
    facts = dataset.facts
    files = {name: (dataset.path / name).read_bytes() for name in dataset.files}
    with Dataset.write(dataset.path) as draft:
        for name, content in files.items():
            (draft.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (draft.folder / name).write_bytes(content)
        rows = pq.ParquetWriter(draft.folder / "train.parquet", schema)
        rows.write_table(tables["train"].from_pylist([*train, twin], schema=schema))
        rows.close()
        test = [*tables["test"].to_pylist(), moved]
        pq.write_table(
            tables["test"].from_pylist(test, schema=schema), draft.folder / "test.parquet"
        )
        draft.facts = facts

    found = diff(versions_here.root, "tiny", "HEAD")
    assert [one.text for one in found.removed.examples] == [gone["text"]]
    assert [one.text for one in found.added.examples] == [twin["text"]]
    assert [one.text for one in found.moved.examples] == [moved["text"]]
    assert found.moved.by_split == {"train → test": 1}
    assert found.changed.count == 1
    assert found.changed.examples[0].answer_after == other
    assert found.changed.examples[0].answer_before not in (other, None)
    assert found.reworded == 1
    text = printed(print_diff, found)
    for told in (gone["text"], moved["text"], "train → test", "psi length", "reworded"):
        assert told in text


def test_what_is_not_there_is_told(versions_here: Toy) -> None:
    root = versions_here.root
    with pytest.raises(RecipeError, match=r"no revision 'nope'\n.*data log tiny"):
        diff(root, "tiny", "nope")
    with pytest.raises(RecipeError, match="has no data set of recipe 'tiny'"):
        diff(root, "tiny", "HEAD~2")
    with pytest.raises(RecipeError, match=r"no recipe 'tinny'.*did you mean 'tiny'"):
        diff(root, "tinny", "HEAD")
    shutil.rmtree(root / "data/tiny/dataset")
    with pytest.raises(ArtefactError, match="no data set of recipe 'tiny' here"):
        diff(root, "tiny", "HEAD")


def test_data_that_is_not_in_the_cache_is_told(versions_here: Toy) -> None:
    shutil.rmtree(versions_here.root / ".dvc/cache")
    with pytest.raises(ArtefactError, match=r"(?s)neither in the cache.*dvc fetch --all-commits"):
        diff(versions_here.root, "tiny", "HEAD~1")


def test_the_log_has_a_line_for_each_version(versions_here: Toy) -> None:
    root = versions_here.root
    second, first = log(root, "tiny")
    assert (second.subject, first.subject) == ("more data", "first data")
    assert first.commit == done(versions_here, "git", "rev-parse", "HEAD~1").strip()
    facts = Dataset.open(root / "data/tiny/dataset").facts
    assert (second.rows, second.quarantined) == (facts["splits"], facts["rows"]["quarantined"])
    assert second.cached
    assert first.cached
    text = printed(print_log, "tiny", [second, first])
    assert second.commit is not None
    assert second.commit[:8] in text
    assert "more data" in text


def test_the_working_copy_comes_first_where_it_differs(versions_here: Toy) -> None:
    root = versions_here.root
    lock = root / "dvc.lock"
    committed = lock.read_text(encoding="utf-8")
    hashes = [one.dataset for one in log(root, "tiny")]
    lock.write_text(committed.replace(hashes[0], hashes[1]), encoding="utf-8")
    here, *rest = log(root, "tiny")
    assert (here.commit, here.dataset) == (None, hashes[1])
    assert [one.dataset for one in rest] == hashes
    assert "not committed" in printed(print_log, "tiny", [here])


def test_a_commit_that_left_the_data_alone_is_no_version(versions_here: Toy) -> None:
    lock = versions_here.root / "dvc.lock"
    lock.write_text(lock.read_text(encoding="utf-8") + "# looked at\n", encoding="utf-8")
    commit(versions_here, "no data")
    assert [one.subject for one in log(versions_here.root, "tiny")] == ["more data", "first data"]


def test_the_log_tells_what_is_not_here(versions_here: Toy) -> None:
    shutil.rmtree(versions_here.root / ".dvc/cache")
    versions = log(versions_here.root, "tiny")
    assert [(one.cached, one.rows) for one in versions] == [(False, None)] * 2
    assert "dvc fetch --all-commits" in printed(print_log, "tiny", versions)


def test_without_a_history_there_are_no_versions(versions_here: Toy) -> None:
    done(versions_here, "git", "checkout", "-q", "HEAD~2")
    (versions_here.root / "dvc.lock").unlink(missing_ok=True)
    assert log(versions_here.root, "tiny") == []
    assert (versions_here.root / INPUTS / "rows.jsonl").exists()
    assert "tuneline run" in printed(print_log, "tiny", [])


def test_no_git_is_told(versions_here: Toy) -> None:
    shutil.rmtree(versions_here.root / ".git")
    with pytest.raises(ArtefactError, match="git cannot tell"):
        log(versions_here.root, "tiny")
