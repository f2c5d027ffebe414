"""Files that land in data/incoming/: whole ones are added, unfit ones leave nothing behind."""

import json
import os
import shutil
import time
from pathlib import Path

import fsspec
import pytest
from data_project import INPUTS, make_project, write_rows
from s3_server import BUCKET, s3_server
from toy_project import Toy

from components.retraining.settings import RetrainSettings
from flows.incoming import REFUSED, Undo, incoming_folder, settled, take_incoming
from flows.incoming_remote import fetch_new, read_seen
from flows.recipe import Recipe, load_recipe
from flows.retrain_inputs import inputs_now


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plain") / "project"
    root.mkdir()
    return make_project(root).root


@pytest.fixture
def project(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A project in which nothing was run yet, as the working directory of this process."""
    shutil.copytree(plain, tmp_path / "project")
    project = Toy(tmp_path / "project")
    project.enter(monkeypatch)
    return project


def at_once(project: Toy) -> Recipe:
    recipe = load_recipe(project.root, "tiny")
    return recipe.model_copy(update={"retrain": RetrainSettings(settle_s=0)})


def test_only_whole_files_are_taken(tmp_path: Path) -> None:
    old = time.time() - 60
    for name in ("b.jsonl", "a.csv", ".hidden.jsonl", "c.jsonl.part", "d.jsonl.tmp", "e.dvc"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (old, old))
    (tmp_path / "growing.jsonl").touch()
    (tmp_path / REFUSED).mkdir()

    assert [file.name for file in settled(tmp_path, 10)] == ["a.csv", "b.jsonl"]
    assert settled(tmp_path / "nowhere", 10) == []


def test_undo_leaves_no_trace_in_the_hash_of_the_inputs(versions_here: Toy) -> None:
    root = versions_here.root
    recipe = load_recipe(root, "tiny")
    before = inputs_now(root, "tiny", recipe)
    sheet = (root / "recipes/tiny.yaml").read_bytes()
    undo = Undo.of(root, "tiny")
    (root / INPUTS / "new.jsonl").write_text("{}\n", encoding="utf-8")
    (root / INPUTS / "new.jsonl.dvc").write_text("outs: []\n", encoding="utf-8")
    (root / INPUTS / ".gitignore").write_text("/new.jsonl\n", encoding="utf-8")
    (root / "recipes/tiny.yaml").write_text("source: {}\n", encoding="utf-8")

    undo()

    assert (root / "recipes/tiny.yaml").read_bytes() == sheet
    assert inputs_now(root, "tiny", recipe) == before


def test_a_folder_behind_a_url_is_fetched_once_a_version(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/rows/"
    bucket = fsspec.filesystem("memory")
    bucket.pipe(f"/{tmp_path.name}/rows/one.jsonl", b'{"text": "1"}\n')

    assert fetch_new(tmp_path, "tiny", url, print) == ["one.jsonl"]
    assert fetch_new(tmp_path, "tiny", url, print) == []
    landed = incoming_folder(tmp_path, "tiny") / "one.jsonl"
    assert landed.read_bytes() == b'{"text": "1"}\n'
    assert settled(landed.parent, 3600) == [landed], "what was fetched is whole"

    landed.unlink()
    bucket.pipe(f"/{tmp_path.name}/rows/one.jsonl", b'{"text": "another"}\n')
    assert fetch_new(tmp_path, "tiny", url, print) == ["one.jsonl"]
    assert set(read_seen(tmp_path, "tiny")) == {"one.jsonl"}


@pytest.mark.slow
def test_a_bucket_is_told_by_its_etags(
    project: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs")
    with s3_server(monkeypatch, tmp_path) as (address, client):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        client.put_object(Bucket=BUCKET, Key="rows/one.jsonl", Body=b'{"text": "1"}\n')
        url = f"s3://{BUCKET}/rows/"
        assert fetch_new(project.root, "tiny", url, print) == ["one.jsonl"]
        assert fetch_new(project.root, "tiny", url, print) == []
        client.put_object(Bucket=BUCKET, Key="rows/one.jsonl", Body=b'{"text": "2"}\n')
        assert fetch_new(project.root, "tiny", url, print) == ["one.jsonl"]
    landed = incoming_folder(project.root, "tiny") / "one.jsonl"
    assert landed.read_bytes() == b'{"text": "2"}\n'


@pytest.mark.slow
def test_a_good_and_a_bad_file(project: Toy) -> None:
    root, told = project.root, []
    folder = incoming_folder(root, "tiny")
    folder.mkdir(parents=True)
    write_rows(folder / "good.jsonl", 30)
    row = json.dumps({"text": "nobody knows this label", "label": "purple"})
    (folder / "bad.jsonl").write_text(row + "\n", encoding="utf-8")

    taken = take_incoming(root, "tiny", at_once(project), told.append)

    assert [added.file for added in taken] == ["data/inputs/tiny/good.jsonl"]
    assert (root / "data/inputs/tiny/good.jsonl.dvc").is_file()
    assert sorted(f.name for f in folder.iterdir()) == [REFUSED]
    assert (folder / REFUSED / "bad.jsonl").is_file()
    assert "purple" in (folder / REFUSED / "bad.jsonl.why.txt").read_text(encoding="utf-8")
    assert not list((root / INPUTS).glob("bad*"))
    manifest = json.loads((root / "data/tiny/dataset/manifest.json").read_text(encoding="utf-8"))
    assert manifest["facts"]["rows"]["in"] == 509 + 30
    assert take_incoming(root, "tiny", at_once(project), told.append) == []


@pytest.mark.slow
def test_a_name_that_is_there_gets_another(project: Toy) -> None:
    folder = incoming_folder(project.root, "tiny")
    folder.mkdir(parents=True)
    write_rows(folder / "rows.jsonl", 12)

    (added,) = take_incoming(project.root, "tiny", at_once(project), print)

    assert added.file.startswith("data/inputs/tiny/rows-")
    assert added.file.endswith(".jsonl")
