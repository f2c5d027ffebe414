"""Rows in Google Cloud Storage, from a server on this machine that speaks its JSON API."""

import base64
import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from components.contracts.errors import SourceError
from components.contracts.events import Context
from components.sources.ingest import ingest
from components.sources.settings import UrlRows

OBJECTS = {f"set/{name}.jsonl": f'{{"text": "{name}"}}\n'.encode() for name in ("a", "b")}


class Storage(BaseHTTPRequestHandler):
    """Tells of objects, lists them and gives their bytes, in ranges too."""

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        path, name = unquote(asked.path), unquote(asked.path).partition("/o/")[2]
        if path.endswith("/o"):
            (prefix,) = parse_qs(asked.query).get("prefix", [""])
            items = [described(one) for one in OBJECTS if one.startswith(prefix)]
            self._answer(json.dumps({"items": items}).encode())
        elif name not in OBJECTS:
            self.send_error(404)
        elif path.startswith("/download/") or "alt=media" in asked.query:
            self._answer(OBJECTS[name], self.headers.get("Range"))
        else:
            self._answer(json.dumps(described(name)).encode())

    def _answer(self, body: bytes, asked: str | None = None) -> None:
        first, last = 0, len(body) - 1
        if asked:
            begin, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(begin), min(int(end or last), last)
        part = body[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: Any) -> None: ...


def described(name: str) -> dict[str, Any]:
    content = OBJECTS[name]
    digest = base64.b64encode(hashlib.md5(content).digest()).decode()
    more = {"size": str(len(content)), "md5Hash": digest, "updated": "2024-01-01T00:00:00Z"}
    return {"kind": "storage#object", "name": name, "bucket": "bucket", "generation": "1", **more}


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    # Else gcsfs asks by gRPC for the kind of the bucket, which no server here answers.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    pytest.importorskip("gcsfs", reason="the extra `gs` is not installed")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def take(context: Context, storage: str, path: str) -> Any:
    options = {"token": "anon", "endpoint_url": storage}
    settings = UrlRows(kind="url", url=f"gs://{path}", sha256=None, storage_options=options)
    return ingest(settings, out=context.root / "out", context=context)


@pytest.mark.parametrize("path", ["bucket/set/*.jsonl", "bucket/set/"])
def test_objects_of_a_bucket_are_read_in_order(context: Context, storage: str, path: str) -> None:
    raw = take(context, storage, path)
    rows = [json.loads(line) for line in raw.rows.open(encoding="utf-8")]
    assert [(one["source"], one["fields"]["text"]) for one in rows] == [
        ("a.jsonl", "a"),
        ("b.jsonl", "b"),
    ]


def test_a_missing_object_is_told(context: Context, storage: str) -> None:
    with pytest.raises(SourceError, match=r"gs://bucket/set/c.jsonl does not exist"):
        take(context, storage, "bucket/set/c.jsonl")
