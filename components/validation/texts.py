"""What is looked for in the text of a row by itself: one function an expectation."""

from collections.abc import Callable, Sequence
from typing import Any

from components.validation import checks
from components.validation.detect.damage import damage, html
from components.validation.detect.personal import personal_data
from components.validation.detect.script import script_share
from components.validation.detect.toxicity import toxic_share
from components.validation.faults import Faults
from components.validation.settings import ValidationSettings

Found = Sequence[str | None]


IN_REJECTED = ("encoding", "html", "personal_data")
"""Faults of a rejected answer too; short, rude or in another language it may be on purpose."""


def look_at(
    texts: Any, answers: Any, rejected: Any | None, settings: ValidationSettings
) -> dict[str, Faults]:
    """Return the faults of texts and answers (Arrow string arrays) by column of faults.

    `rejected` are the rejected answers, of preferences only: no text holds them. A row without a
    text has been found at fault already.
    """
    import numpy as np
    import pyarrow.compute as pc

    there = np.flatnonzero(pc.is_valid(texts).to_numpy())
    texts, answers = (column.take(there).combine_chunks() for column in (texts, answers))
    faults = {checks.EMPTY_TEXT: _empty(texts), checks.EMPTY_ANSWER: _empty(answers)}
    if rejected is not None:
        rejected = rejected.take(there).combine_chunks()
        faults[checks.EMPTY_REJECTED] = _empty(rejected)
    for name in checks.text_sentences(settings):
        found = DETECTORS[name](texts, settings)
        if rejected is not None and name in IN_REJECTED:
            found = _either(found, DETECTORS[name](rejected, settings))
        faults[name] = Faults.where(found)
    return {name: found.among(there) for name, found in faults.items() if len(found)}


def _either(found: Found, in_rejected: Found) -> Found:
    return [
        one or (other and f"rejected answer: {other}")
        for one, other in zip(found, in_rejected, strict=True)
    ]


def _empty(texts: Any) -> Faults:
    import pyarrow.compute as pc

    empty = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0).to_numpy(False)
    return Faults.of((int(at), "") for at in empty.nonzero()[0])


def _encoding(texts: Any, settings: ValidationSettings) -> Found:
    return damage(texts)


def _html(texts: Any, settings: ValidationSettings) -> Found:
    return html(texts)


def _length(texts: Any, settings: ValidationSettings) -> Found:
    import pyarrow.compute as pc

    counts = {
        "characters": pc.utf8_length(texts),
        "words": pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts))),
    }
    found: list[str | None] = [None] * len(texts)
    for unit, count in counts.items():
        low, high = getattr(settings, f"min_{unit}"), getattr(settings, f"max_{unit}")
        numbers = count.to_numpy(False)
        bad = (numbers < (low or 0)) | (numbers > (2**31 if high is None else high))
        for at in bad.nonzero()[0]:
            found[at] = found[at] or f"{numbers[at]:,} {unit}"
    return found


def _script(texts: Any, settings: ValidationSettings) -> Found:
    shares = script_share(texts, settings.scripts)
    return _below(shares, settings.min_script_share, "of the letters")


def _language(texts: Any, settings: ValidationSettings) -> Found:
    from components.validation.detect.language import languages

    named = languages(texts, least=settings.min_language_score)
    return [one if one and one not in settings.languages else None for one in named]


def _personal_data(texts: Any, settings: ValidationSettings) -> Found:
    found = personal_data(texts, settings.personal_data)
    if not settings.presidio:
        return found
    from components.validation.detect.presidio import presidio_data

    named = presidio_data(texts, language=settings.presidio_language, model=settings.presidio_model)
    return [one or other for one, other in zip(found, named, strict=True)]


def _toxicity(texts: Any, settings: ValidationSettings) -> Found:
    shares = toxic_share(texts, settings.toxic_words or None)
    return [
        f"{share:.0%} of the words" if share > settings.max_toxic_share else None
        for share in shares.tolist()
    ]


def _below(shares: Any, least: float, what: str) -> Found:
    return [f"{share:.0%} {what}" if share < least else None for share in shares.tolist()]


DETECTORS: dict[str, Callable[[Any, ValidationSettings], Found]] = {
    "encoding": _encoding,
    "html": _html,
    "length": _length,
    "script": _script,
    "language": _language,
    "personal_data": _personal_data,
    "toxicity": _toxicity,
}
