"""An artefact is whole or not there."""

import json
from pathlib import Path

import pytest

from components.contracts.artefacts import need_space
from components.contracts.errors import ArtefactError, SpaceError, did_you_mean
from components.contracts.kinds import Raw, Verdict


def written(path: Path, text: str = "one") -> Raw:
    with Raw.write(path) as draft:
        (draft.folder / "rows.jsonl").write_text(text)
        draft.facts = {"rows": 1}
    return Raw.open(path)


def test_written_artefact_opens_with_its_facts(tmp_path: Path) -> None:
    raw = written(tmp_path / "raw")
    assert raw.facts == {"rows": 1}
    assert raw.rows.read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_digest_follows_the_content_alone(tmp_path: Path) -> None:
    assert written(tmp_path / "a").digest == written(tmp_path / "b").digest
    assert written(tmp_path / "a").digest != written(tmp_path / "c", "two").digest


def test_failure_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    written(tmp_path / "raw")

    def fail_half_way() -> None:
        with Raw.write(tmp_path / "raw") as draft:
            (draft.folder / "rows.jsonl").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert Raw.open(tmp_path / "raw").rows.read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_missing_manifest_is_not_an_artefact(tmp_path: Path) -> None:
    written(tmp_path / "raw")
    (tmp_path / "raw" / "manifest.json").unlink()
    with pytest.raises(ArtefactError, match=r"manifest\.json cannot be read"):
        Raw.open(tmp_path / "raw")


def test_wrong_kind_is_named(tmp_path: Path) -> None:
    written(tmp_path / "raw")
    with pytest.raises(ArtefactError, match="holds 'raw', but 'verdict' is needed"):
        Verdict.open(tmp_path / "raw")


def test_lost_or_cut_file_is_found_at_opening(tmp_path: Path) -> None:
    written(tmp_path / "raw")
    (tmp_path / "raw" / "rows.jsonl").write_text("on")
    with pytest.raises(ArtefactError, match=r"rows\.jsonl is missing or has another size"):
        Raw.open(tmp_path / "raw")


def test_changed_byte_is_found_by_check(tmp_path: Path) -> None:
    raw = written(tmp_path / "raw")
    raw.rows.write_text("onf")
    with pytest.raises(ArtefactError, match=r"rows\.jsonl has changed"):
        raw.check()


def test_manifest_has_no_path_and_no_clock(tmp_path: Path) -> None:
    written(tmp_path / "raw")
    manifest = json.loads((tmp_path / "raw" / "manifest.json").read_text())
    assert set(manifest) == {"format", "kind", "facts", "files"}
    assert str(tmp_path) not in json.dumps(manifest)


def test_full_disk_is_said_and_nothing_stays(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="no room left"), Raw.write(tmp_path / "raw"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_said_before_writing(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"needs about 1000000\.0 GB"):
        need_space(tmp_path, 10**15, "the export")


def test_did_you_mean_only_for_near_names() -> None:
    assert did_you_mean("trainig", ["training", "gate"]) == "; did you mean 'training'?"
    assert did_you_mean("zebra", ["training", "gate"]) == ""
