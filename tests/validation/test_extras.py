"""Expectations that need an extra: they name it where it is missing, and find where it is there."""

import sys
from pathlib import Path
from typing import Any

import pytest
from planted import row, sound

from components.contracts.errors import DataError
from components.validation.detect import language

GERMAN = row("Das ist ein ganz wunderbarer Tag für alle Leute in der Stadt")
ENGLISH = [row(f"This is the plain report of day number {n} for the whole town") for n in range(60)]


def test_rows_in_another_language_are_named(run: Any) -> None:
    pytest.importorskip("fasttext", reason="the extra `language` is not installed")
    facts = run([*ENGLISH, GERMAN], languages=["en"], near_duplicate_threshold=None).facts
    (found,) = facts["warned_rows"]["language"]
    assert (found["row"], found["value"]) == ("demo.jsonl:61", "de")
    taken = run(
        [*ENGLISH, GERMAN],
        languages=["en"],
        severity={"language": "quarantine"},
        near_duplicate_threshold=None,
    )
    assert taken.facts["quarantined"] == {"language": 1}


def test_without_the_language_extra_the_line_stops_with_its_name(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fasttext", None)
    language._model.cache_clear()
    with pytest.raises(DataError, match=r"tuneline\[language\]"):
        run(ENGLISH, languages=["en"])


def test_presidio_adds_to_what_the_patterns_find(run: Any, tmp_path: Path) -> None:
    reason = "the extra `presidio` is not installed"
    pytest.importorskip("presidio_analyzer", reason=reason)
    spacy = pytest.importorskip("spacy", reason=reason)
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": "Ada Lovelace"}])
    pipeline.to_disk(tmp_path / "pipeline")
    rows = [*sound(40), row("Ada Lovelace wrote it"), row("mail jo.doe@fictive.net at noon")]
    facts = run(rows, presidio=True, presidio_model=str(tmp_path / "pipeline")).facts
    found = {one["row"]: one["value"] for one in facts["warned_rows"]["personal_data"]}
    assert found == {"demo.jsonl:41": "PERSON Ad…", "demo.jsonl:42": found["demo.jsonl:42"]}
    assert found["demo.jsonl:42"].startswith("email")


def test_without_presidio_the_line_stops_with_the_next_move(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(DataError, match=r"tuneline\[presidio\]"):
        run(sound(40), presidio=True)
