"""Rows behind URLs: in memory, from a web server and from an S3 server, all on this machine."""

import gzip
import hashlib
import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast

import fsspec
import pytest
from fsspec.registry import _registry
from pydantic import ValidationError
from s3_server import BUCKET, s3_server

from components.contracts.errors import SourceError, UnreachableError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Raw
from components.sources import url_download
from components.sources.ingest import ingest
from components.sources.settings import UrlRows

ROWS = b"".join(f'{{"text": "row {n}"}}\n'.encode() for n in range(20_000))
SHA = hashlib.sha256(ROWS).hexdigest()


def take(context: Context, url: str, sha256: str | None = None, **more: Any) -> Raw:
    settings = UrlRows(kind="url", url=url, sha256=sha256, **more)
    return ingest(settings, out=context.root / "out", context=context)


def rows(raw: Raw) -> list[tuple[str, int, Any]]:
    lines = map(json.loads, raw.rows.read_text(encoding="utf-8").splitlines())
    return [(line["source"], line["row"], line["fields"]) for line in lines]


def notes(context: Context) -> list[str]:
    return cast(Heard, context.events).notes


def left_over(context: Context) -> list[str]:
    return sorted(p.name for p in (context.scratch / "downloads").iterdir())


@pytest.fixture
def memory() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    yield filesystem
    filesystem.store.clear()


def test_a_pinned_file_is_taken_from_the_first_download(context: Context, memory: Any) -> None:
    memory.pipe("/bucket/rows.jsonl.gz", packed := gzip.compress(ROWS, mtime=0))
    sha = hashlib.sha256(packed).hexdigest()
    raw = take(context, "memory://bucket/rows.jsonl.gz", sha)
    assert rows(raw)[-1] == ("rows.jsonl.gz", 20_000, {"text": "row 19999"})
    assert raw.facts["source"] == {
        "file": "rows.jsonl.gz",
        "kind": "url",
        "name": "memory://bucket/rows.jsonl.gz",
        "pinned": True,
        "sha256": sha,
    }
    memory.store.clear()
    assert take(context, "memory://bucket/rows.jsonl.gz", sha).digest == raw.digest
    assert left_over(context) == [sha]


def test_a_spoilt_download_is_brought_again(context: Context, memory: Any) -> None:
    memory.pipe("/bucket/rows.jsonl", ROWS)
    before = take(context, "memory://bucket/rows.jsonl", SHA)
    (context.scratch / "downloads" / SHA / "rows.jsonl").write_bytes(b"{}\n")
    assert take(context, "memory://bucket/rows.jsonl", SHA).digest == before.digest


def test_another_hash_is_refused_and_nothing_stays(context: Context, memory: Any) -> None:
    memory.pipe("/bucket/rows.jsonl", ROWS)
    with pytest.raises(SourceError, match=rf"expected sha256 {'0' * 64}\n  found    sha256 {SHA}"):
        take(context, "memory://bucket/rows.jsonl", "0" * 64)
    assert left_over(context) == []
    assert not (context.root / "out").exists()


def test_without_a_pin_it_says_so_and_takes_what_is_there_now(
    context: Context, memory: Any
) -> None:
    memory.pipe("/bucket/rows.jsonl", ROWS)
    raw = take(context, "memory://bucket/rows.jsonl")
    assert raw.facts["source"]["pinned"] is False
    assert any(
        f"is not pinned, so a change there is not seen; this time it has sha256: {SHA}" in n
        for n in notes(context)
    )
    memory.pipe("/bucket/rows.jsonl", b'{"text": "new"}\n')
    assert take(context, "memory://bucket/rows.jsonl").facts["rows"] == 1


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("memory://bucket/set/", ["a.jsonl", "b.jsonl", "more/c.jsonl"]),
        ("memory://bucket/set/*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("memory://bucket/*/[b-z].jsonl", ["set/b.jsonl"]),
    ],
)
def test_folders_and_patterns_are_read_in_order_of_names(
    context: Context, memory: Any, url: str, names: list[str]
) -> None:
    for name in ("b.jsonl", "a.jsonl", "more/c.jsonl", ".hidden.jsonl"):
        memory.pipe(f"/bucket/set/{name}", f'{{"text": "{name}"}}\n'.encode())
    raw = take(context, url)
    assert [name for name, _, _ in rows(raw)] == names
    again = take(context, url, raw.facts["source"]["sha256"])
    assert again.facts["rows"] == len(names)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memory://bucket/none.jsonl", "does not exist"),
        ("memory://bucket/*.jsonl", "no file is there"),
        ("memory://bucket/set/", "no file is there"),
        ("htps://host/rows.jsonl", "no file system is known for htps://; did you mean 'https'"),
        ("http://127.0.0.1:9/rows.jsonl", "cannot be read: ClientConnectorError"),
    ],
)
def test_what_cannot_be_read_says_why(context: Context, memory: Any, url: str, said: str) -> None:
    with pytest.raises(SourceError) as error:
        take(context, url)
    assert said in str(error.value)
    assert error.value.fix
    assert isinstance(error.value, UnreachableError) == ("127.0.0.1" in url)


def test_a_missing_file_system_names_its_extra(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    for scheme in ("gs", "gcs"):
        monkeypatch.delitem(_registry, scheme, raising=False)
    with pytest.raises(SourceError, match=r'(?s)reads gs://.*pip install "tuneline\[gs\]"'):
        take(context, "gs://bucket/rows.jsonl")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"url": "rows.jsonl"}, "must be one URL"),
        ({"url": "file:///etc/rows.jsonl"}, "local files are"),
        ({"url": "simplecache::s3://bucket/rows.jsonl"}, "must be one URL"),
        ({"url": "https://me:word@host/rows.jsonl"}, "names a user"),
        ({"url": "https://host/x.jsonl?X-Amz-Signature=1"}, "looks like a credential"),
        ({"url": "https://host/x.jsonl?keyword=a&access_token=1"}, "'access_token' looks"),
        ({"url": "s3://b/x", "storage_options": {"secret": "x"}}, "'secret' looks like"),
        ({"url": "s3://b/x", "storage_options": {"a": {"aws_access_key_id": "x"}}}, "looks like"),
    ],
)
def test_credentials_and_local_files_have_no_place_in_it(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        UrlRows(kind="url", sha256=None, **values)
    with pytest.raises(ValidationError, match="sha256"):
        UrlRows(kind="url", url="s3://b/x")  # type: ignore[call-arg]
    anonymous = {"token": "anon", "anon": True, "endpoint_url": "http://here"}
    assert UrlRows(kind="url", url="gs://b/x", sha256=None, storage_options=anonymous)


class Web(BaseHTTPRequestHandler):
    """Serves ROWS with ranges and an ETag, and may cut the answer off."""

    tag = "one"
    cut_after: int | None = None
    status = 200
    asked: list[str]  # the ranges that were asked for

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        web = type(self)
        if web.status != 200:
            self.send_error(web.status)
            return
        asked = self.headers.get("Range")
        first, last = 0, len(ROWS) - 1
        if asked:
            first, last = (int(n) for n in asked.removeprefix("bytes=").split("-"))
            last = min(last, len(ROWS) - 1)
        part = ROWS[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{web.tag}"')
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(ROWS)}")
        self.end_headers()
        if not body:
            return
        web.asked.append(asked or "all")
        if web.cut_after is not None and last >= web.cut_after:
            self.wfile.write(part[: max(0, web.cut_after - first)])
            self.close_connection = True
            return
        self.wfile.write(part)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Web]]]:
    handler = type("Handler", (Web,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(url_download, "BLOCK", 1 << 16)
    yield f"http://127.0.0.1:{server.server_address[1]}/rows.jsonl", handler
    server.shutdown()
    server.server_close()


def test_a_cut_off_download_leaves_nothing_half_written_and_goes_on(
    context: Context, web: tuple[str, type[Web]]
) -> None:
    url, server = web
    server.cut_after = 200_000
    with pytest.raises(UnreachableError, match="run again: what is done is kept"):
        take(context, url, SHA)
    assert not (context.root / "out").exists()
    assert not (context.scratch / "downloads" / SHA).exists()
    server.cut_after = None
    server.asked.clear()
    assert take(context, url, SHA).facts["rows"] == 20_000
    first = min(int(asked.removeprefix("bytes=").split("-")[0]) for asked in server.asked)
    assert 100_000 < first <= 200_000
    assert any("from byte" in note for note in notes(context))
    assert left_over(context) == [SHA]


def test_a_file_that_changed_between_is_not_glued_together(
    context: Context, web: tuple[str, type[Web]]
) -> None:
    url, server = web
    server.cut_after = 200_000
    with pytest.raises(UnreachableError):
        take(context, url)
    server.cut_after, server.tag = None, "two"
    assert take(context, url).facts["rows"] == 20_000
    assert not any("from byte" in note for note in notes(context))
    assert left_over(context) == [SHA]


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (404, SourceError, "does not exist"),
        (403, SourceError, "may not be read"),
        (503, UnreachableError, "cannot be read"),
    ],
)
def test_a_refusal_of_the_server_is_told_apart(
    context: Context, web: tuple[str, type[Web]], status: int, kind: type, said: str
) -> None:
    url, server = web
    server.status = status
    with pytest.raises(SourceError, match=said) as error:
        take(context, url)
    assert type(error.value) is kind


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An S3 server on this machine with a bucket `data`; gives its address."""
    pytest.importorskip("s3fs")
    with s3_server(monkeypatch, tmp_path) as (address, client):
        client.put_object(Bucket=BUCKET, Key="set/rows.jsonl", Body=ROWS)
        client.put_object(Bucket=BUCKET, Key="set/a/more.jsonl", Body=b'{"text": "more"}\n')
        yield address


def test_an_s3_server_is_read(context: Context, bucket: str) -> None:
    options = {"endpoint_url": bucket, "skip_instance_cache": True}
    one = take(context, "s3://data/set/rows.jsonl", SHA, storage_options=options)
    assert one.facts["rows"] == 20_000
    every = take(context, "s3://data/set/**/*.jsonl", storage_options=options)
    assert {name for name, _, _ in rows(every)} == {"rows.jsonl", "a/more.jsonl"}
    whole = take(context, "s3://data/set/", storage_options=options)
    assert whole.facts["source"]["sha256"] == every.facts["source"]["sha256"]
    with pytest.raises(SourceError, match="does not exist"):
        take(context, "s3://data/set/none.jsonl", storage_options=options)
    with pytest.raises(SourceError, match=r"does not exist|no file is there"):
        take(context, "s3://nowhere/set/", storage_options=options)
