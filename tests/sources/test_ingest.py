"""Rows of local files: every format, and every fault with its file and row."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter, ValidationError

from components.contracts.errors import DataError, SourceError, TunelineError
from components.contracts.events import Context
from components.contracts.kinds import Raw
from components.sources.ingest import ingest
from components.sources.settings import FileRows, HubRows, ModelSettings, SourceSettings

EXPECTED = [
    {"source": "rows.{}", "row": 1, "fields": {"text": "café", "label": "a"}},
    {"source": "rows.{}", "row": 2, "fields": {"text": "tea", "label": "b"}},
]


def put(context: Context, name: str, content: bytes) -> str:
    path = Path("data/inputs/demo") / name
    (context.root / path).parent.mkdir(parents=True, exist_ok=True)
    (context.root / path).write_bytes(content)
    return str(path)


def take(context: Context, path: str, **read: Any) -> Raw:
    settings = FileRows(kind="file", path=path, read=read)
    return ingest(settings, out=context.root / "out", context=context)


def rows(raw: Raw) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw.rows.read_text(encoding="utf-8").splitlines()]


def parquet_bytes(folder: Path) -> bytes:
    pq.write_table(pa.table({"text": ["café", "tea"], "label": ["a", "b"]}), folder / "x.parquet")
    return (folder / "x.parquet").read_bytes()


@pytest.mark.parametrize(
    ("ending", "content", "first_row"),
    [
        ("jsonl", '{"text":"café","label":"a"}\n{"text":"tea","label":"b"}\n'.encode(), 1),
        ("csv", '\ufefftext,label\r\n"café",a\r\ntea,b\r\n'.encode(), 2),
        ("tsv", "text\tlabel\ncafé\ta\ntea\tb\n".encode(), 2),
        ("parquet", None, 1),
    ],
)
def test_every_format_gives_the_same_rows(
    context: Context, ending: str, content: bytes | None, first_row: int
) -> None:
    path = put(context, f"rows.{ending}", content or parquet_bytes(context.root))
    raw = take(context, path)
    wanted = [
        {**row, "source": f"rows.{ending}", "row": first_row + number}
        for number, row in enumerate(EXPECTED)
    ]
    assert rows(raw) == wanted
    assert raw.facts["columns"] == ["text", "label"]
    assert raw.facts["rows"] == 2


def test_csv_rows_over_several_lines_keep_the_line_they_start_on(context: Context) -> None:
    path = put(context, "rows.csv", b'text,label\n"two\nlines",a\nnext,b\n')
    assert [(row["row"], row["fields"]["text"]) for row in rows(take(context, path))] == [
        (2, "two\nlines"),
        (4, "next"),
    ]


def test_columns_can_be_named_for_a_file_without_a_header(context: Context) -> None:
    path = put(context, "rows.txt", b"1\tyes\n")
    raw = take(context, path, format="tsv", columns=("id", "text"))
    assert rows(raw)[0]["fields"] == {"id": "1", "text": "yes"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text": oops}\n', "a.jsonl:2: not JSON"),
        ("a.jsonl", b'{"text": NaN}\n', "a.jsonl:1: not JSON (NaN"),
        ("a.jsonl", b'["x"]\n', "a.jsonl:1: a JSON list"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "\xe9"}\n', "a.jsonl:2: byte 0xe9 at offset 24"),
        ("a.csv", b"text,label\nx,y\nz\n", "a.csv:3: 1 columns where 2 are needed (text, label)"),
        ("a.tsv", b"text\tlabel\nx\ty\tz\n", "a.tsv:2: 3 columns where 2 are needed"),
        ("a.csv", b'text,label\n"x,y\n', "a.csv:2: not CSV"),
        ("a.csv", b"text,text\nx,y\n", "column 'text' appears twice"),
        ("a.jsonl", b"", "a.jsonl has no rows"),
        ("a.csv", b"text,label\n", "a.csv has no rows"),
        ("a.parquet", b"PAR1 but not really", "a.parquet: not a Parquet file"),
    ],
)
def test_faults_name_file_and_row_and_leave_nothing(
    context: Context, name: str, content: bytes, said: str
) -> None:
    path = put(context, name, content)
    with pytest.raises(DataError) as error:
        take(context, path)
    assert said in str(error.value)
    assert error.value.fix
    assert sorted(p.name for p in context.root.iterdir()) == ["data"]


def test_a_failed_run_leaves_the_older_artefact_whole(context: Context) -> None:
    path = put(context, "rows.jsonl", b'{"text": "x"}\n')
    before = take(context, path).digest
    put(context, "rows.jsonl", b'{"text": "x"}\nnot json\n')
    with pytest.raises(DataError):
        take(context, path)
    whole = Raw.open(context.root / "out")
    whole.check()
    assert whole.digest == before


def test_a_missing_file_is_guessed(context: Context) -> None:
    put(context, "rows.jsonl", b"{}\n")
    with pytest.raises(SourceError, match=r"did you mean 'data/inputs/demo/rows\.jsonl'"):
        take(context, "data/inputs/demo/row.jsonl")


@pytest.mark.parametrize("path", ["rows.jsonl", "data/inputs/../rows.jsonl", "/tmp/rows.jsonl"])
def test_a_file_that_dvc_does_not_watch_is_refused(context: Context, path: str) -> None:
    with pytest.raises(SourceError, match="DVC would not see it change"):
        take(context, path)


def test_an_input_that_is_a_link_into_the_cache_of_dvc_is_read(context: Context) -> None:
    cached = context.root / "cache"
    cached.write_text('{"text": "x"}\n')
    link = context.root / "data" / "inputs" / "rows.jsonl"
    link.symlink_to(cached)
    assert take(context, "data/inputs/rows.jsonl").facts["rows"] == 1


def test_an_unknown_ending_names_the_known_ones(context: Context) -> None:
    path = put(context, "rows.xlsx", b"x")
    with pytest.raises(SourceError, match="csv, jsonl, parquet, tsv"):
        take(context, path)


def test_bytes_in_a_parquet_column_are_refused(context: Context) -> None:
    pq.write_table(pa.table({"image": [b"\x00"]}), context.root / "data/inputs/x.parquet")
    with pytest.raises(DataError, match="values of type bytes"):
        take(context, "data/inputs/x.parquet")


def test_a_hub_revision_must_be_a_commit() -> None:
    with pytest.raises(ValidationError, match="revision"):
        HubRows(kind="hub", name="owner/data", revision="main")
    assert HubRows(kind="hub", name="owner/data", revision="a" * 40).split == "train"


def test_the_sections_are_told_apart_by_kind() -> None:
    source = TypeAdapter(SourceSettings)
    assert isinstance(source.validate_python({"kind": "file", "path": "x"}), FileRows)
    with pytest.raises(ValidationError, match="'package', 'file', 'hub'"):
        source.validate_python({"kind": "ftp"})
    with pytest.raises(ValidationError, match="'package', 'file', 'hub', 'random'"):
        TypeAdapter(ModelSettings).validate_python({"kind": "tiny"})


def test_the_hub_out_of_reach_is_a_readable_error(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    settings = HubRows(kind="hub", name="owner/data", revision="a" * 40)
    with pytest.raises(TunelineError, match=r"dataset owner/data at a+ cannot be read"):
        ingest(settings, out=context.root / "out", context=context)
