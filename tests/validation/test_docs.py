"""Data Docs: the same bytes whenever they are made, and readable without the web."""

import html
import re
from typing import Any

import pytest

from components.contracts.kinds import Dataset
from components.validation.custom import CLASSES
from components.validation.settings import Severities

ROWS = [{"text": f"row number {n}", "label": ("bad", "good")[n % 2]} for n in range(60)]
DIRTY = [*ROWS, ROWS[0], {"text": "<script>alert(1)</script>\ufffd", "label": "good"}]


@pytest.fixture
def dataset(run: Any) -> Dataset:
    made: Dataset = run(DIRTY)
    return made


def test_building_again_later_gives_the_same_bytes(run: Any, dataset: Dataset) -> None:
    # Great Expectations stamps its results with microseconds, so "later" is at once.
    first = {name: (dataset.path / name).read_bytes() for name in dataset.files}
    again = run(DIRTY)
    for name, content in first.items():
        assert (again.path / name).read_bytes() == content, name
    assert again.digest == dataset.digest


def test_a_page_for_every_suite_and_an_index(dataset: Dataset) -> None:
    docs = {name for name in dataset.files if name.startswith("docs/")}
    suites = ("columns", "rows", "repeats", "splits", "totals")
    assert docs == {f"docs/{name}.html" for name in ("index", *suites)}
    index = (dataset.path / "docs/index.html").read_text()
    assert "&lt;script&gt;alert(1)" in index
    assert "62 rows in, 60 kept, 2 quarantined" in index
    repeats = (dataset.path / "docs/repeats.html").read_text()
    assert "no text comes twice" in repeats
    assert "demo.jsonl:1" in repeats


def test_every_expectation_stands_under_its_own_name_with_its_own_sentence(
    dataset: Dataset,
) -> None:
    pages = {n: (dataset.path / n).read_text() for n in dataset.files if n.startswith("docs/")}
    index = pages.pop("docs/index.html")
    for fact in dataset.facts["expectations"]:
        said = f"{fact['says']} — {fact['expectation']}, {fact['severity']}"
        assert any(said in html.unescape(page) for page in pages.values()), said
        assert fact["says"] in html.unescape(index)
    assert "there is a column text — columns, stop" in pages["docs/columns.html"]


def test_no_severity_without_an_expectation() -> None:
    assert set(CLASSES) == {*Severities.model_fields, "columns"}
    assert len(set(CLASSES.values())) == len(CLASSES)


def test_pages_hold_no_clock_no_random_names_and_load_nothing(dataset: Dataset) -> None:
    for name in dataset.files:
        if not name.startswith("docs/"):
            continue
        page = (dataset.path / name).read_text()
        assert not re.search(r"20\d\d-?[01]\d-?[0-3]\d", page)
        assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", page)
        assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
        assert "<script" not in page
        assert "Content-Security-Policy" in page


def test_manifest_holds_no_path_of_this_machine(dataset: Dataset) -> None:
    text = (dataset.path / "manifest.json").read_text()
    assert str(dataset.path.parent) not in text
