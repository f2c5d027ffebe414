"""Rows go through one at a time: counted in rows alive and in bytes held, never in seconds."""

import gzip
import json
import tracemalloc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.errors import DataError
from components.contracts.events import Context
from components.sources import ingest as step
from components.sources import text_input
from components.sources.origin import Origin, PlacedRow, RowFile
from components.sources.readers import read_rows
from components.sources.settings import FileRows, ReadSettings

ROWS = 40_000
ROW = {"text": "word " * 100, "label": "a"}


class Fields(dict[str, Any]):
    """A row that can be counted."""


def test_ingest_lets_go_of_each_row_before_it_takes_the_next(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Counted(Fields):
        __hash__ = object.__hash__  # type: ignore[assignment]

    def rows() -> Iterator[PlacedRow]:
        nonlocal most
        for number in range(1, 501):
            fields = Counted(text=str(number))
            alive.add(fields)
            most = max(most, len(alive))
            yield "x", number, fields
            del fields

    @contextmanager
    def opened(settings: Any, context: Context) -> Iterator[Origin]:
        yield Origin("x", "none", {"name": "x"}, rows())

    monkeypatch.setitem(step.KINDS, "file", opened)
    settings = FileRows(kind="file", path="x", rename={"text": "said"})
    raw = step.ingest(settings, out=context.root / "out", context=context)
    assert raw.facts["rows"] == 500
    assert most <= 2


def write(folder: Path, form: str) -> Path:
    """Write 20 MB of rows, the last of them broken where the format lets a row be broken."""
    file = folder / f"rows.{form}"
    line = json.dumps(ROW)
    if form == "parquet":
        table = pa.Table.from_pylist([{**ROW, "n": n} for n in range(ROWS)])
        pq.write_table(table, file, row_group_size=ROWS, compression="none", use_dictionary=False)
    elif form == "jsonl":
        file.write_text((line + "\n") * ROWS + "broken")
    elif form == "json":
        file.write_text("[" + (line + ",\n") * ROWS + "broken")
    elif form == "jsonl.gz":
        file.write_bytes(gzip.compress(((line + "\n") * ROWS + "broken").encode(), 1))
    elif form == "csv":
        file.write_text("text,label\n" + f"{ROW['text']},a\n" * ROWS + "broken\n")
    elif form == "txt":
        file.write_bytes(f"{ROW['text']}\n".encode() * ROWS + b"\xff")
    return file


@pytest.mark.parametrize("form", ["jsonl", "json", "jsonl.gz", "csv", "txt", "parquet"])
def test_a_reader_holds_a_small_part_of_the_file(tmp_path: Path, form: str) -> None:
    file = write(tmp_path, form)
    settings = ReadSettings(sample_by="line")
    found = read_rows(RowFile(file.name, file), settings)
    arrow_before, arrow_peak = pa.total_allocated_bytes(), 0
    tracemalloc.start()
    try:
        for _ in range(ROWS):
            next(found)
            arrow_peak = max(arrow_peak, pa.total_allocated_bytes() - arrow_before)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak + arrow_peak < 8_000_000 < ROWS * len(ROW["text"])
    if form != "parquet":
        with pytest.raises(DataError, match=r"rows\.\S+: "):  # it had not looked there before
            next(found)


def test_one_endless_line_or_row_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.sources import delimited, json_list, text_file

    for module in (text_input, json_list, text_file, delimited):
        monkeypatch.setattr(module, "LONGEST", 1 << 21)
    long = "x" * (1 << 22)
    cases = {
        "a.jsonl": f'{{"text": "{long}"}}',
        "a.json": f'[{{"text": "{long}',
        "a.csv": 'text\n"' + "x,\n" * (1 << 20),
        "a.txt": "some line\n" * (1 << 18),
    }
    for name, content in cases.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=r"longer than 2 MB|larger than field limit"):
            list(read_rows(RowFile(name, tmp_path / name), ReadSettings()))


def test_values_that_are_cut_in_two_between_pieces_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_input, "PIECE", 5)
    items = [
        {"text": 'é "quoted" \\ 👩 \n', "n": -12.5e3, "flag": True, "nothing": None},
        {"deep": [{"a": []}, {}], "😀": "😀"},
        {},
    ] * 3
    for indent in (None, 2):
        file = tmp_path / "rows.json"
        for ascii_only in (True, False):
            text = json.dumps(items, ensure_ascii=ascii_only, indent=indent)
            file.write_bytes(text.encode("utf-8", "surrogatepass"))
            found = list(read_rows(RowFile(file.name, file), ReadSettings()))
            assert found == list(enumerate(items, start=1))
