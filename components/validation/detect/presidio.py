"""Personal data as Microsoft's Presidio finds it: names, places and more, by a language model.

Slow (milliseconds a text) and optional: `pip install tuneline[presidio]` and a spaCy model.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError
from components.validation.detect.columns import Texts, column
from components.validation.detect.masks import ends

MODELS = {"en": "en_core_web_sm", "de": "de_core_news_sm", "fr": "fr_core_news_sm"}


def presidio_data(
    texts: Texts,
    entities: Sequence[str] | None = None,
    *,
    language: str = "en",
    model: str | None = None,
    score_threshold: float = 0.5,
) -> list[str | None]:
    """Return for each text its first entity and a masked value, as `PERSON Jo…`; None for none.

    `entities` are Presidio's names (`PERSON`, `US_SSN` …; all by default), `model` the spaCy
    pipeline that reads the language, by name or folder.

    Raises:
        DataError: Presidio or the spaCy pipeline is not installed.
    """
    analyzer = _analyzer(language, model or MODELS.get(language, f"{language}_core_news_sm"))
    found: list[str | None] = []
    for text in column(texts).to_pylist():
        results = analyzer.analyze(
            text, language=language, entities=entities, score_threshold=score_threshold
        )
        first = min(results, key=lambda result: (result.start, -result.score), default=None)
        found.append(
            None
            if first is None
            else f"{first.entity_type} {ends(text[first.start : first.end], 2, 0)}"
        )
    return found


@cache
def _analyzer(language: str, model: str) -> Any:
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import NlpEngineProvider
    except ImportError as error:
        raise DataError(
            f"Presidio is not installed ({error})", fix="pip install 'tuneline[presidio]'"
        ) from error
    if not (spacy.util.is_package(model) or Path(model).is_dir()):
        # Presidio would download it: a step reads what is installed and nothing else.
        raise DataError(
            f"the spaCy pipeline '{model}' is not installed",
            fix=f"python -m spacy download {model}",
        )
    models = [{"lang_code": language, "model_name": model}]
    provider = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models})
    return AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=[language])
