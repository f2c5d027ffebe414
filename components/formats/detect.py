"""`format: {kind: auto}`: the kind told by the columns of the rows and what they hold."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from components.contracts.errors import DataError
from components.contracts.kinds import Raw
from components.formats.example import Fields
from components.formats.rules import RULES, Column, Found, Rule
from components.formats.settings import AutoSettings, FormatSettings
from components.formats.undetected import ambiguous, unknown

SAMPLE = 1000
"""Rows looked at, spread evenly over the source, so that a sorted file is seen whole."""

MOST_LABELS = 20
"""More different labels than this are not taken for a set of labels."""


def resolve_for(raw: Raw, settings: FormatSettings) -> FormatSettings:
    """Return `settings`, or what the rows of `raw` tell where the kind is `auto`."""
    if not isinstance(settings, AutoSettings):
        return settings
    return resolve(settings, raw.facts["columns"], sample(raw))


def resolve(
    settings: FormatSettings, columns: Sequence[str], sample: Sequence[Fields]
) -> FormatSettings:
    """Return `settings` with kind `auto` replaced by the kind that the columns tell.

    `columns` are all columns of the source and `sample` some of its rows. Raises `DataError` when
    no kind fits, when several do, or when the columns alone cannot tell labels or languages.
    """
    if not isinstance(settings, AutoSettings):
        return settings
    pairs = [(rule, _found(rule, columns, sample)) for rule in RULES]
    fits = [(rule, found) for rule, found in pairs if found is not None]
    best = [one for one in fits if not any(_beats(other, one) for other in fits)]
    if not best:
        raise unknown(columns)
    if len(best) > 1:
        raise ambiguous(columns, best)
    rule, found = best[0]
    unused = dict.fromkeys(set(rule.takes) - set(found))
    values: dict[str, Any] = {"kind": rule.kind, **unused, **found}
    values |= _more(rule.kind, found, sample)
    concrete: FormatSettings = TypeAdapter(FormatSettings).validate_python(values)
    return concrete


def sample(raw: Raw, size: int = SAMPLE) -> list[Fields]:
    """Return up to `size` rows of `raw`, spread evenly."""
    step = max(1, -(-raw.facts["rows"] // size))
    with raw.rows.open(encoding="utf-8") as stream:
        return [json.loads(line)["fields"] for n, line in enumerate(stream) if n % step == 0]


def _found(rule: Rule, columns: Sequence[str], sample: Sequence[Fields]) -> Found | None:
    needed = _columns(rule.needs, columns, sample)
    if len(needed) < len(rule.needs):
        return None
    return needed | _columns(rule.takes, columns, sample)


def _columns(
    wanted: Mapping[str, Column], columns: Sequence[str], sample: Sequence[Fields]
) -> Found:
    return {
        setting: name
        for setting, column in wanted.items()
        for name in [n for n in column.names if n in columns and _holds(column, n, sample)][:1]
    }


def _holds(column: Column, name: str, sample: Sequence[Fields]) -> bool:
    """Say whether most values are as they should be: single wrong rows are validation's."""
    values = [fields[name] for fields in sample if fields.get(name) is not None]
    return 2 * sum(map(column.holds, values)) > len(values)


def _beats(one: tuple[Rule, Found], other: tuple[Rule, Found]) -> bool:
    """Say whether `one` explains more columns than `other`, or goes before it by the table."""
    if one[0] is other[0]:
        return False
    mine, theirs = set(one[1].values()), set(other[1].values())
    same = one[0].kind == other[0].kind and mine == theirs
    first = RULES.index(one[0]) < RULES.index(other[0])
    return mine > theirs or other[0].kind in one[0].over or (same and first)


def _more(kind: str, found: Found, sample: Sequence[Fields]) -> dict[str, Any]:
    """Return the settings that are not columns."""
    if kind == "classification":
        names = _labels(found, [fields.get(found["label"]) for fields in sample])
        return {"label": {"column": found["label"], "names": names}}
    if "translation" in found:
        pairs = [fields.get(found["translation"]) for fields in sample]
        languages = list(next(pair for pair in pairs if pair))
        raise DataError(
            f"column '{found['translation']}' holds {' and '.join(languages)}, but the rows do not "
            "tell which is translated into which",
            fix="write it into the recipe: format: {kind: translation, translation: "
            f"{found['translation']}, source_language: {languages[0]}, "
            f"target_language: {languages[1]}}}",
        )
    return {}


def _labels(found: Found, values: Sequence[Any]) -> list[str]:
    """Return the label words in order; raise `DataError` unless the sample leaves no doubt."""
    counts = Counter(value for value in values if value is not None)
    numbers = all(map(_is_number, counts))
    few = 2 <= len(counts) <= MOST_LABELS
    if few and not numbers and set(map(type, counts)) == {str} and min(counts.values()) > 1:
        return sorted(counts)
    words = sorted(map(str, counts))
    shown = ", ".join(words[:MOST_LABELS]) + (", …" if len(words) > MOST_LABELS else "")
    if numbers:
        doubt = "numbers, which are no words to answer with"
    else:
        doubt = "one value only" if len(counts) == 1 else "too many values, or values seen once"
    values_key = ", values: {0: FIRST, 1: SECOND}" if numbers else ""
    raise DataError(
        f"the rows are texts with a label, but the label words are not plain from column "
        f"'{found['label']}': it holds {doubt} ({shown})",
        fix="name them in the recipe: format: {kind: classification, "
        f"text: {found['text']}, label: {{column: {found['label']}, names: [FIRST, SECOND]"
        f"{values_key}}}}}",
    )


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
