"""Several local files as one source: folders, patterns, texts; and columns under other names."""

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from components.contracts.errors import DataError, SourceError
from components.contracts.events import Context
from components.contracts.kinds import Raw
from components.sources.ingest import ingest
from components.sources.local import find_files
from components.sources.settings import FileRows

DEMO = "data/inputs/demo"


def put(context: Context, **files: bytes | str) -> None:
    for name, content in files.items():
        path = context.root / DEMO / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def take(context: Context, path: str, **more: Any) -> Raw:
    settings = FileRows(kind="file", path=path, **more)
    return ingest(settings, out=context.root / "out", context=context)


def rows(raw: Raw) -> list[tuple[str, int, Any]]:
    lines = map(json.loads, raw.rows.read_text(encoding="utf-8").splitlines())
    return [(line["source"], line["row"], line["fields"]) for line in lines]


def test_a_folder_of_texts_is_a_row_a_file_in_order_of_names(context: Context) -> None:
    put(context, b_txt="second\n", a__z_txt="first, inside\n", c_md="# third\n\nend")
    put(context, _hidden="no", b_txt_dvc="no", a___gitkeep="no")
    raw = take(context, DEMO)
    assert rows(raw) == [
        ("a/z.txt", 1, {"text": "first, inside\n"}),
        ("b.txt", 1, {"text": "second\n"}),
        ("c.md", 1, {"text": "# third\n\nend"}),
    ]
    assert raw.facts["source"]["files"] == 3
    assert raw.facts["source"]["file"] == DEMO


@pytest.mark.parametrize(
    ("sample_by", "expected"),
    [
        ("line", [(1, "one"), (2, " two "), (5, "three"), (6, "four")]),
        ("paragraph", [(1, "one\n two "), (5, "three\r\nfour")]),
        ("document", [(1, "one\n two \n\n \nthree\r\nfour")]),
    ],
)
def test_a_row_is_a_line_a_paragraph_or_the_file(
    context: Context, sample_by: str, expected: list[tuple[int, str]]
) -> None:
    text = "one\n two \n\n \nthree\r\nfour"
    put(context, a_txt=text)
    found = rows(take(context, f"{DEMO}/a.txt", read={"sample_by": sample_by}))
    assert [(number, fields["text"]) for _, number, fields in found] == expected


def test_a_pattern_takes_the_files_that_fit(context: Context) -> None:
    line = '{{"text": "{}"}}\n'
    put(context, b_jsonl=line.format("b"), a_jsonl=line.format("a"), README_md="no")
    put(context, more__c_jsonl=line.format("c"))
    flat = take(context, f"{DEMO}/*.jsonl")
    assert [(name, f["text"]) for name, _, f in rows(flat)] == [("a.jsonl", "a"), ("b.jsonl", "b")]
    deep = rows(take(context, f"{DEMO}/**/*.jsonl"))
    assert [name for name, _, _ in deep] == ["a.jsonl", "b.jsonl", "more/c.jsonl"]
    some = rows(take(context, f"{DEMO}/[bc].jsonl"))
    assert [name for name, _, _ in some] == ["b.jsonl"]


def test_several_files_have_one_digest_that_sha256sum_gives_too(context: Context) -> None:
    put(context, a_txt="a", b_txt="b")
    lines = [f"{hashlib.sha256(c).hexdigest()}  {c.decode()}.txt\n" for c in (b"a", b"b")]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert take(context, DEMO).facts["source"]["sha256"] == expected


def test_errors_name_the_file_below_the_folder(context: Context) -> None:
    put(context, a__x_jsonl='{"a": 1}\n', b__x_jsonl='{"a": 1}\n{"a": oops}\n')
    with pytest.raises(DataError, match=r"b/x\.jsonl:2: not JSON"):
        take(context, DEMO)


def test_rows_and_other_files_are_not_mixed(context: Context) -> None:
    put(context, rows_jsonl='{"a": 1}\n', README_md="about")
    with pytest.raises(SourceError, match=r"several formats: jsonl \(rows.jsonl\), text \(README"):
        take(context, DEMO)
    assert take(context, f"{DEMO}/*.jsonl").facts["rows"] == 1


@pytest.mark.parametrize("path", [DEMO, f"{DEMO}/*.jsonl", f"{DEMO}/**/rows.csv"])
def test_an_empty_folder_says_what_is_there(context: Context, path: str) -> None:
    put(context, _gitkeep="", _notes="")
    with pytest.raises(SourceError, match="no file of rows is there") as error:
        take(context, path)
    assert "files in demo/: none" in str(error.value)


def test_a_pattern_cannot_leave_the_inputs(context: Context) -> None:
    (context.root / "secret.txt").write_text("x")
    for path in ("data/inputs/../../*.txt", "*.txt", "/tmp/*.txt", "data/inputs/*/../../../*.txt"):
        with pytest.raises(SourceError, match=r"would not see it|no file of rows"):
            take(context, path)


def test_a_url_is_another_kind_of_source(context: Context) -> None:
    with pytest.raises(SourceError, match=r"(?s)is a URL.*kind: url"):
        take(context, "s3://bucket/rows.jsonl")


def test_columns_get_other_names(context: Context) -> None:
    put(context, a_jsonl='{"q": 1, "r": 2, "id": 3}\n{"q": 4, "id": 5}\n')
    names = {"q": "prompt", "r": "completion"}
    raw = take(context, f"{DEMO}/a.jsonl", rename=names)
    assert [fields for _, _, fields in rows(raw)] == [
        {"prompt": 1, "completion": 2, "id": 3},
        {"prompt": 4, "id": 5},
    ]
    assert raw.facts["columns"] == ["prompt", "completion", "id"]
    swapped = take(context, f"{DEMO}/a.jsonl", rename={"q": "id", "id": "q"})
    assert rows(swapped)[1][2] == {"id": 4, "q": 5}


def test_a_new_name_must_be_free(context: Context) -> None:
    put(context, a_jsonl='{"q": 1}\n{"q": 1, "prompt": 2}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: .* a second column 'prompt'"):
        take(context, f"{DEMO}/a.jsonl", rename={"q": "prompt"})


def test_an_old_name_must_be_there(context: Context) -> None:
    put(context, a_jsonl='{"question": 1, "id": 2}\n')
    with pytest.raises(DataError, match=r"column 'questoin'; did you mean 'question'") as error:
        take(context, f"{DEMO}/a.jsonl", rename={"questoin": "prompt"})
    assert "columns there: question, id" in str(error.value)


def test_two_columns_cannot_get_one_name() -> None:
    with pytest.raises(ValidationError, match="'x' to more than one column"):
        FileRows(kind="file", path="x", rename={"a": "x", "b": "x"})


def test_the_order_of_files_does_not_hang_on_the_file_system(context: Context) -> None:
    put(context, **{f"{name}_txt": name for name in ("b", "B", "a", "a-b", "10", "9")})
    names = [name for name, _, _ in rows(take(context, DEMO))]
    assert names == sorted(names) == ["10.txt", "9.txt", "B.txt", "a-b.txt", "a.txt", "b.txt"]


@pytest.mark.parametrize("path", ["", "/*.jsonl", "/**/*.jsonl", "/b.jsonl"])
def test_what_dvc_keeps_and_has_not_brought_is_told(context: Context, path: str) -> None:
    folder = context.root / "data/inputs/demo"
    folder.mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (folder / name).write_text('{"text": "x"}\n', encoding="utf-8")
        (folder / f"{name}.dvc").write_text("outs: []\n", encoding="utf-8")
    assert find_files(f"data/inputs/demo{path}", context.root)
    (folder / "b.jsonl").unlink()
    with pytest.raises(SourceError, match=r"b.jsonl is kept by DVC, but .* not here") as error:
        find_files(f"data/inputs/demo{path}", context.root)
    assert error.value.fix == "dvc pull data/inputs/demo/b.jsonl.dvc"
