"""Rows of local files: every format, and every fault with its file and row."""

import gzip
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


def arrow_bytes(kind: str) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"text": ["café", "tea"], "label": ["a", "b"]})
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    return bytes(sink.getvalue())


def packed(content: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(content)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("ending", "content", "first_row"),
    [
        ("jsonl", '{"text":"café","label":"a"}\n{"text":"tea","label":"b"}\n'.encode(), 1),
        ("csv", '\ufefftext,label\r\n"café",a\r\ntea,b\r\n'.encode(), 2),
        ("tsv", "text\tlabel\ncafé\ta\ntea\tb\n".encode(), 2),
        ("parquet", None, 1),
        ("json", '[{"text":"café","label":"a"},\n {"text":"tea","label":"b"}]\n'.encode(), 1),
        ("json", '{"text":"café","label":"a"}\n{"text":"tea","label":"b"}\n'.encode(), 1),
        ("arrow", "file", 1),
        ("arrow", "stream", 1),
    ],
)
def test_every_format_gives_the_same_rows(
    context: Context, ending: str, content: bytes | str | None, first_row: int
) -> None:
    if not isinstance(content, bytes):
        content = arrow_bytes(content) if content else parquet_bytes(context.root)
    path = put(context, f"rows.{ending}", content)
    raw = take(context, path)
    wanted = [
        {**row, "source": f"rows.{ending}", "row": first_row + number}
        for number, row in enumerate(EXPECTED)
    ]
    assert rows(raw) == wanted
    assert raw.facts["columns"] == ["text", "label"]
    assert raw.facts["rows"] == 2


@pytest.mark.parametrize(("ending", "codec"), [("gz", "gzip"), ("zst", "zstd"), ("GZ", "gzip")])
def test_packed_files_are_read_as_they_are(context: Context, ending: str, codec: str) -> None:
    lines = [f'{{"text": "café {n}"}}\n'.encode() for n in range(3000)]
    two = packed(b"".join(lines[:2000]), codec) + packed(b"".join(lines[2000:]), codec)
    raw = take(context, put(context, f"rows.jsonl.{ending}", two))
    assert raw.facts["rows"] == 3000
    assert rows(raw)[-1]["row"] == 3000
    assert raw.facts["source"]["file"] == f"rows.jsonl.{ending}"
    path = put(context, f"rows.csv.{ending}", packed(b"text,label\nx,y\n", codec))
    assert take(context, path).facts["rows"] == 1


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_cut_off_packed_file_names_the_line_it_ends_in(context: Context, codec: str) -> None:
    whole = packed("".join(f'{{"n": {n**7}}}\n' for n in range(100_000)).encode(), codec)
    ending = {"gzip": "gz", "zstd": "zst"}[codec]
    path = put(context, f"rows.jsonl.{ending}", whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"rows\.jsonl\.\w+:(\d+): the compressed data") as error:
        take(context, path)
    line = int(str(error.value).split(":")[1])
    assert 20_000 < line < 80_000
    assert not (context.root / "out").exists()


def test_a_semicolon_can_part_the_cells(context: Context) -> None:
    path = put(context, "rows.csv", b'text;label\n"a;b";c\n')
    assert rows(take(context, path, delimiter=";"))[0]["fields"] == {"text": "a;b", "label": "c"}


def test_a_cell_may_be_a_long_document(context: Context) -> None:
    path = put(context, "rows.csv", b'text,label\n"' + b"long " * 100_000 + b'",a\n')
    assert len(rows(take(context, path))[0]["fields"]["text"]) == 500_000


def test_half_a_character_becomes_the_mark_of_damage(context: Context) -> None:
    path = put(context, "rows.jsonl", b'{"text": "cut \\ud83d", "whole": "\\ud83d\\ude00"}\n')
    assert rows(take(context, path))[0]["fields"] == {"text": "cut \ufffd", "whole": "😀"}


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
        ("a.jsonl", b'["x"]\n', "a file that is one JSON list must end in .json"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "\xe9"}\n', "a.jsonl:2: byte 0xe9 at offset 24"),
        ("a.csv", b"text,label\nx,y\nz\n", "a.csv:3: 1 columns where 2 are needed (text, label)"),
        ("a.tsv", b"text\tlabel\nx\ty\tz\n", "a.tsv:2: 3 columns where 2 are needed"),
        ("a.csv", b'text,label\n"x,y\n', "a.csv:2: not CSV"),
        ("a.csv", b"text,text\nx,y\n", "a.csv:1: column 'text' appears twice (text, text)"),
        ("a.tsv", b"text\t\nx\ty\n", "a.tsv:1: a column has no name"),
        ("a.csv", b"text;label\nx;y\n", """set source.read.delimiter: ";\""""),
        ("a.jsonl", b'{"text": "x"}\n{"a": 1, "a": 2}\n', "a.jsonl:2: not JSON ('a' stands twice"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl:1: not JSON (nested too deeply)"),
        ("a.jsonl", '{"text": "x"}\n'.encode("utf-16"), "a.jsonl:1: byte 0xff at offset 0 of"),
        ("a.jsonl", '{"text": "x"}\n'.encode("utf-16"), "iconv -f UTF-16"),
        ("a.txt", b"one\ntwo \x93quoted\x94\n", "a.txt:2: byte 0x93 at offset 8 of"),
        ("a.json", b'[{"text": "x"},\n{"text": }]\n', "a.json:2: row 2: not JSON (Expecting value"),
        ("a.json", b'[{"text": "x"},\n{"text": "y', "a.json:2: row 2: not JSON (Unterminated"),
        ("a.json", b'[{"text": "x"}\n{"text": "y"}]', "row 1 ends, then '{' where ',' or ']'"),
        ("a.json", b'[{"text": "x"},\n7]', "a.json:2: row 2 is not a JSON object: '7]'"),
        ("a.json", b'[{"text": "x"},]', "a.json:1: row 2 is not a JSON object"),
        ("a.json", b'[{"text": "x"}] x', "a.json:1: there is text after the end of the list"),
        ("a.json", b'[{"text": "x"}', "a.json:1: row 1 ends, then '' where"),
        ("a.json", b'[{"text": NaN}]', "a.json:1: row 1: not JSON (NaN"),
        ("a.json", b'"text"', "a.json:1: '\"' where a JSON list of objects should begin"),
        ("a.json", b'[{"text": "\xff"}]', "a.json:1: byte 0xff at offset 11 of"),
        ("a.json", b"[]", "a.json has no rows"),
        ("a.json", b" \n", "a.json has no rows"),
        ("a.arrow", b"ARROW1 but not really", "a.arrow: not an Arrow file"),
        ("a.jsonl.gz", b"not packed", "a.jsonl.gz:1: the compressed data is cut off or damaged"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 9, mtime=0)[:-9], "a.jsonl.gz:"),
        ("a.csv.zst", b"not packed", "a.csv.zst:1: the compressed data is cut off or damaged"),
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
    with pytest.raises(SourceError, match=r"'\.xlsx' tells no format .*\n.*csv, json, jsonl"):
        take(context, path)
    with pytest.raises(SourceError, match=r"did you mean '\.jsonl'"):
        take(context, put(context, "rows.jsnl.gz", b"x"))


def test_bytes_in_a_parquet_column_are_refused(context: Context) -> None:
    pq.write_table(pa.table({"image": [b"\x00"]}), context.root / "data/inputs/x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet:1: column 'image' holds values of type bytes"):
        take(context, "data/inputs/x.parquet")


def test_parquet_columns_of_one_name_are_refused(context: Context) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, context.root / "data/inputs/x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet: column 'text' appears twice"):
        take(context, "data/inputs/x.parquet")


def test_a_damaged_parquet_file_names_the_row(context: Context) -> None:
    words = pa.table({"text": [f"{n**9}" for n in range(40_000)]})
    pq.write_table(words, context.root / "x", row_group_size=20_000)
    whole = (context.root / "x").read_bytes()
    middle = len(whole) * 3 // 4
    (context.root / "x").unlink()
    put(context, "x.parquet", whole[:middle] + b"\0" * 20_000 + whole[middle + 20_000 :])
    with pytest.raises(DataError, match=r"x\.parquet:\d+: damaged from here on") as error:
        take(context, "data/inputs/demo/x.parquet")
    assert 18_900 < int(str(error.value).split(":")[1]) <= 20_001  # where its batch begins


def test_a_hub_revision_must_be_a_commit() -> None:
    with pytest.raises(ValidationError, match="revision"):
        HubRows(kind="hub", name="owner/data", revision="main")
    assert HubRows(kind="hub", name="owner/data", revision="a" * 40).split == "train"


def test_the_sections_are_told_apart_by_kind() -> None:
    source = TypeAdapter(SourceSettings)
    assert isinstance(source.validate_python({"kind": "file", "path": "x"}), FileRows)
    with pytest.raises(ValidationError, match="'package', 'file', 'hub', 'url'"):
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


def test_a_split_of_a_hub_set_gives_its_rows_in_order(context: Context) -> None:
    # The library takes a folder for a data set of the hub: the same loader, without a network.
    folder = context.root / "set"
    folder.mkdir()
    for split in ("train", "test"):
        lines = [json.dumps({"text": f"{split} {n}", "tags": [n, None]}) for n in range(3)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = HubRows(kind="hub", name=str(folder), revision="a" * 40, split="test")
    raw = ingest(settings, out=context.root / "out", context=context)
    rows = [json.loads(line) for line in raw.rows.open(encoding="utf-8")]
    assert [(one["source"], one["row"]) for one in rows] == [
        (f"{folder}:test", n) for n in (1, 2, 3)
    ]
    assert [one["fields"] for one in rows] == [
        {"text": f"test {n}", "tags": [n, None]} for n in range(3)
    ]
    assert raw.facts["source"]["revision"] == "a" * 40
