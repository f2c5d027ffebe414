"""A text and its translation: two columns, or the hub's {"translation": {"en": …, "de": …}}."""

from collections.abc import Iterator
from typing import Any

from components.formats.example import (
    Example,
    Fields,
    Message,
    RowError,
    as_text,
    column,
    system_turn,
    text_column,
)
from components.formats.languages import language_name
from components.formats.settings import TranslationSettings
from components.formats.template import fill, unfill
from components.formats.turns import shown


def read(fields: Fields, settings: TranslationSettings) -> Example:
    """Return the example of one row; raise `RowError` for a missing column or language."""
    source, target = _pair(fields, settings)
    messages = (
        *system_turn(settings.system),
        Message(role="user", content=fill(prompt(settings), {"source": source})),
        Message(role="assistant", content=target),
    )
    return Example(messages, target, (), -1, f"{source}\n{target}")


def write(example: Example, settings: TranslationSettings) -> Iterator[dict[str, Any]]:
    """Yield rows that may read as `example`."""
    for values in unfill(prompt(settings), ["source"], example.messages[-2]["content"]):
        source, target = values["source"], example.answer
        if settings.translation is None:
            yield {settings.source: source, settings.target: target}
        else:
            languages = (settings.source_language, settings.target_language)
            yield {settings.translation: dict(zip(languages, (source, target), strict=True))}


def columns(settings: TranslationSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    if settings.translation is not None:
        return (settings.translation,)
    return (settings.source, settings.target)


def optional(settings: TranslationSettings) -> tuple[str | None, ...]:
    """Return the columns that a row may have."""
    del settings
    return ()


def prompt(settings: TranslationSettings) -> str:
    """Return the template with the names of the languages in it, {source} still open."""
    languages = {
        "source_language": language_name(settings.source_language),
        "target_language": language_name(settings.target_language),
    }
    return fill(settings.prompt, languages)


def _pair(fields: Fields, settings: TranslationSettings) -> tuple[str, str]:
    name = settings.translation
    if name is None:
        return text_column(fields, settings.source), text_column(fields, settings.target)
    texts = column(fields, name)
    if not isinstance(texts, dict):
        raise RowError(
            "value", f"column '{name}' must hold a text a language, not {shown(texts)}", texts
        )
    languages = [settings.source_language, settings.target_language]
    missing = [language for language in languages if texts.get(language) is None]
    if missing:
        raise RowError(
            "value",
            f"column '{name}' has no text in '{missing[0]}' (languages: {', '.join(texts)})",
            texts,
        )
    source, target = (as_text(texts[key], f"column '{name}', {key}") for key in languages)
    return source, target
