"""Real tiny models: registered whole or not at all, promoted, rolled back, traced, rebuilt."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_project import commit
from test_register import run_register
from test_register import tiny_onnx as tiny_onnx  # the fixture
from toy_project import Toy

from components.contracts.errors import ModelError
from components.contracts.kinds import Onnx
from flows.record import open_record
from flows.registry_cli import lineage, promote, rollback
from flows.registry_errors import ConflictError, RegistryError

NAME = "toy-model"


@pytest.fixture(scope="module")
def other_onnx(tiny_onnx: Onnx, tmp_path_factory: pytest.TempPathFactory) -> Onnx:
    """The same model with other bytes: one more file."""
    out = tmp_path_factory.mktemp("other") / "onnx"
    with Onnx.write(out) as draft:
        shutil.copytree(tiny_onnx.path / "fp32", draft.folder / "fp32")
        (draft.folder / "fp32" / "NOTE").write_text("other bytes")
        draft.facts = tiny_onnx.facts
    return Onnx.open(out)


@pytest.fixture(scope="module")
def two(
    made_template: Path, tiny_onnx: Onnx, other_onnx: Onnx, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Toy]:
    """A project with two versions, each of which the gate has made champion."""
    toy = Toy(tmp_path_factory.mktemp("two") / "toy")
    shutil.copytree(made_template, toy.root)
    commit(toy, "all that it was made from")
    with pytest.MonkeyPatch.context() as monkeypatch:
        toy.enter(monkeypatch)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{toy.root}/mlflow/two.db")
        run_register(toy, tiny_onnx, promote=True)
        with open_record(toy.root, "toy", "dvc") as record:
            record.status = "finished"
        run_register(toy, other_onnx, promote=True)
        yield toy


@pytest.fixture
def registry(two: Toy) -> Iterator[Toy]:
    """The same; afterwards version 2 is champion again, and the journal as it was."""
    from flows.registry_alias import MOVE
    from flows.store import client

    yield two
    store = client()
    store.set_registered_model_alias(NAME, "champion", "2")
    tags = store.get_registered_model(NAME).tags
    for key in [key for key in sorted(tags) if key.startswith(MOVE)][2:]:
        store.delete_registered_model_tag(NAME, key)


def model_file(version: str) -> Path:
    """Return where the store keeps the weights of a version."""
    from urllib.parse import unquote, urlsplit

    from flows.store import client

    uri = client().get_model_version_download_uri(NAME, version)
    return next(Path(unquote(urlsplit(uri).path)).rglob("model.onnx"))


def test_a_drill_changes_nothing_and_a_rollback_one_thing(
    registry: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.registry_alias import champion, moves
    from flows.store import client

    rollback(NAME, drill=True)
    said = capsys.readouterr().out
    assert "a rollback would go from version 2 to 1" in said
    assert "1 probe prompts answered as when registered" in said
    assert champion(NAME) == "2"
    assert len(moves(NAME)) == 2
    assert set(client().get_registered_model(NAME).aliases) == {"champion", "challenger"}

    rollback(NAME, note="complaints")
    assert "champion was version 2, is version 1 again" in capsys.readouterr().out
    assert champion(NAME) == "1"
    assert (moves(NAME)[-1].why, moves(NAME)[-1].note) == ("rollback", "complaints")
    with pytest.raises(RegistryError, match="no champion of toy-model before version 1"):
        rollback(NAME)

    promote(f"{NAME}@2")
    assert "champion was version 1, is version 2" in capsys.readouterr().out
    promote(f"{NAME}@champion")
    assert "version 2 is champion of toy-model already" in capsys.readouterr().out


def test_a_rollback_goes_to_other_bytes(registry: Toy) -> None:
    from flows.registry_alias import champion
    from flows.registry_check import HASH
    from flows.store import client

    store = client()
    tags = [store.get_model_version(NAME, number).tags[HASH] for number in ("1", "2")]
    store.set_model_version_tag(NAME, "1", HASH, tags[1])
    try:
        with pytest.raises(RegistryError, match=r"with other bytes than its own \(1 hold"):
            rollback(NAME)
    finally:
        store.set_model_version_tag(NAME, "1", HASH, tags[0])
    assert champion(NAME) == "2"


def test_changed_bytes_are_never_promoted(registry: Toy) -> None:
    from flows.registry_alias import champion

    file = model_file("1")
    right = file.read_bytes()
    file.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))  # one flipped bit
    try:
        for way in (lambda: rollback(NAME), lambda: promote(f"{NAME}@1")):
            with pytest.raises(RegistryError, match=r"files of version 1 .* are not those"):
                way()
        file.unlink()
        with pytest.raises(RegistryError, match=r"not those that were registered"):
            rollback(NAME, drill=True)
    finally:
        file.write_bytes(right)
    assert champion(NAME) == "2"


def test_other_answers_are_told(registry: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    from flows.registry_alias import champion
    from flows.registry_check import PROBES
    from flows.store import client

    store = client()
    right = store.get_model_version(NAME, "1").tags[PROBES]
    probes = json.loads(right)
    assert probes[0]["request"]["text"] == "What a day!"
    probes[0]["answer"] += " indeed"
    store.set_model_version_tag(NAME, "1", PROBES, json.dumps(probes))
    try:
        with pytest.raises(RegistryError, match="other answers than when it was registered"):
            rollback(NAME)
        assert champion(NAME) == "2"
        rollback(NAME, drill=True, skip_probes=True)
        assert "probe" not in capsys.readouterr().out
    finally:
        store.set_model_version_tag(NAME, "1", PROBES, right)


def test_without_a_good_verdict_nobody_is_promoted(registry: Toy) -> None:
    from flows.registry_alias import champion
    from flows.store import client

    client().set_model_version_tag(NAME, "1", "verdict", "keep")
    try:
        with pytest.raises(RegistryError, match=r"does not allow it .*24 held-out items"):
            promote(f"{NAME}@1")
        assert champion(NAME) == "2"
    finally:
        client().set_model_version_tag(NAME, "1", "verdict", "promote")


def test_a_version_that_fails_its_check_is_not_in_the_registry(
    registry: Toy, tiny_onnx: Onnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import register
    from flows.registry_alias import champion
    from flows.store import client

    def refuse(*_: object) -> None:
        raise ModelError("the registered model answers otherwise")

    with open_record(registry.root, "toy", "dvc") as record:
        record.status = "finished"
    monkeypatch.setattr(register, "probe", refuse)
    with pytest.raises(ModelError, match="answers otherwise"):
        run_register(registry, tiny_onnx, promote=True)
    found = client().search_model_versions(f"name = '{NAME}'")
    assert {str(version.version) for version in found} == {"1", "2"}
    assert champion(NAME) == "2"


def test_bytes_that_the_store_changed_are_not_registered(
    registry: Toy, tiny_onnx: Onnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import register
    from flows.registry_alias import champion
    from flows.store import client

    with open_record(registry.root, "toy", "dvc") as record:
        record.status = "finished"
    monkeypatch.setattr(register, "folder_digest", lambda *_: "0" * 64)
    with pytest.raises(RegistryError, match=r"are not those that were registered: .* 0000"):
        run_register(registry, tiny_onnx, promote=True)
    assert len(client().search_model_versions(f"name = '{NAME}'")) == 2
    assert champion(NAME) == "2"


def test_a_champion_that_came_meanwhile_stays(
    registry: Toy, tiny_onnx: Onnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import register
    from flows.registry_alias import champion, swap
    from flows.store import client

    with open_record(registry.root, "toy", "dvc") as record:
        record.status = "finished"
    # somebody promotes version 1 while the new one is being asked
    monkeypatch.setattr(register, "probe", lambda *_: swap(NAME, "2", "1", "promote"))
    with pytest.raises(ConflictError, match=r"version 1 \(promote by .* when this began it was"):
        run_register(registry, tiny_onnx, promote=True)
    found = client().get_registered_model(NAME).aliases
    new = str(found["challenger"])
    assert champion(NAME) == "1"
    assert new not in ("1", "2"), "it stays in the registry, to be promoted by a person"
    client().set_registered_model_alias(NAME, "challenger", "2")
    client().delete_model_version(NAME, new)


def test_lineage_leads_back_to_everything(
    registry: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    lineage(f"{NAME}@champion", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["version"] == "2"
    assert found["aliases"] == ["challenger", "champion"]
    assert len(found["git_commit"]) == 40
    assert found["recipe"] == "toy"
    assert "VADER" in found["recipe_text"]
    assert set(found["artefacts"]) >= {"raw", "base", "adapter", "evaluation", "verdict"}
    assert set(found["inputs"]) == {f"knobs/{s}" for s in found_stages(registry)}
    assert found["environment"]["packages"]["mlflow"]
    assert found["verdict"] == "promote"
    assert found["reasons"] == ["24 held-out items"]
    assert found["champions"] == ["1", "2"]
    assert [one["why"] for one in found["moves"]] == ["gate", "gate"]

    lineage(f"{NAME}@1")
    said = capsys.readouterr().out
    assert "toy-model version 1 (no alias)" in said
    assert f"git          {found['git_commit']}" in said
    assert "1 → 2  gate by " in said


def found_stages(toy: Toy) -> set[str]:
    return {file.name for file in (toy.root / "knobs").iterdir()}


def test_an_unknown_commit_or_stage_is_told_before_anything_is_built(registry: Toy) -> None:
    from flows.registry_lineage import lineage as gather
    from flows.registry_ref import find
    from flows.registry_reproduce import reproduce

    made = gather(find(f"{NAME}@2"))
    with pytest.raises(RegistryError, match=r"commit 000000000000 is not in the repository"):
        reproduce(registry.root, made.model_copy(update={"git_commit": "0" * 40}))
    with pytest.raises(RegistryError, match=r"no stage 'verifi'; did you mean 'verify'"):
        reproduce(registry.root, made, until="verifi")
    with pytest.raises(RegistryError, match="bears no git commit"):
        reproduce(registry.root, made.model_copy(update={"git_commit": None}))


@pytest.mark.slow
def test_rebuilt_from_its_commit_it_has_the_same_hashes(registry: Toy) -> None:
    from flows.registry_lineage import lineage as gather
    from flows.registry_ref import find
    from flows.registry_reproduce import reproduce

    registry.turn("train", "another knob, in the working copy alone")
    registry.calls()
    made = gather(find(f"{NAME}@2"))
    found = reproduce(registry.root, made, until="verify")
    assert found.same, found.lines()
    names = {one.name for one in found.artefacts}
    assert names == {"raw", "base", "adapter", "verification"}
    assert registry.calls() == [], "it was built in a clone"
    assert (found.folder / "calls.log").read_text().split() != []
    assert found.packages == []
    assert found.lines()[-1] == "all 4 hashes are those of then"

    planted = {**made.artefacts, "adapter": "0" * 32}
    other = reproduce(registry.root, made.model_copy(update={"artefacts": planted}), until="train")
    assert not other.same
    assert other.lines()[-1] == "1 of 3 hashes DIFFER"
