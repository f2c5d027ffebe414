"""The table in docs/data.md: each example row becomes what the page says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from components.formats.example import Example
from components.formats.read import FORMATS, read
from components.formats.settings import FormatSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
LINE = re.compile(r"^\| `(\w+)` \| .+? \| `(\{.+\})` \| `(.+)` \|$", re.MULTILINE)
TABLE = {kind: (row, becomes) for kind, row, becomes in LINE.findall(PAGE.read_text())}

MORE: dict[str, dict[str, Any]] = {
    "classification": {"label": {"column": "label", "names": ["negative", "positive"]}},
    "translation": {
        "translation": "translation",
        "source_language": "en",
        "target_language": "de",
    },
}


def shown(example: Example) -> str:
    parts = [f"{message['role']}: {message['content']}" for message in example.messages]
    parts += [f"choices: {', '.join(example.choices)}"] if example.choices else []
    parts += [f"or: {answer}" for answer in example.references[1:]]
    parts += [f"rejected: {example.rejected}"] if example.rejected else []
    return (" · ".join(parts) or example.text).replace("\n", "⏎")


def test_every_kind_has_its_line() -> None:
    assert set(TABLE) == set(FORMATS)


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_the_example_becomes_what_the_page_says(kind: str) -> None:
    row, becomes = TABLE[kind]
    form = TypeAdapter(FormatSettings).validate_python({"kind": kind, **MORE.get(kind, {})})
    assert shown(read(json.loads(row), form)) == becomes
