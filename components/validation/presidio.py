"""Names, places and more that patterns cannot know, found by presidio (the `presidio` extra)."""

from functools import cache
from typing import Any

from components.contracts.errors import RecipeError

ENTITIES = ("PERSON", "LOCATION", "NRP", "MEDICAL_LICENSE", "US_SSN", "UK_NHS", "CRYPTO")
"""What the detectors of our own do not look for."""

LEAST_SCORE = 0.5


def people(texts: Any) -> list[str | None]:
    """Return for each text the first thing found, as kind and first letter; `None` for nothing.

    Raises `RecipeError` when presidio or its language model is not installed.
    """
    analyzer = _analyzer()
    return [_first(analyzer, text) for text in texts.to_pylist()]


@cache
def _analyzer() -> Any:
    try:
        from presidio_analyzer import AnalyzerEngine

        return AnalyzerEngine()
    except (ImportError, OSError) as error:
        raise RecipeError(
            f"validation.presidio: presidio cannot be used: {error}",
            fix="run `pip install 'tuneline[presidio]'` and `python -m spacy download "
            "en_core_web_lg`, or set validation.presidio: false",
        ) from error


def _first(analyzer: Any, text: str) -> str | None:
    found = analyzer.analyze(text=text, language="en", entities=list(ENTITIES))
    sure = [one for one in found if one.score >= LEAST_SCORE]
    if not sure:
        return None
    first = min(sure, key=lambda one: (one.start, one.entity_type))
    return f"{first.entity_type.lower()} {text[first.start]}…"
