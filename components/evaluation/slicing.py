"""How the held-out items are parted: by length, label, distance from the training text, column."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.contracts.errors import RecipeError, did_you_mean
from components.contracts.kinds import Dataset, Raw
from components.evaluation.settings import SliceSettings
from components.scoring.items import Item
from components.scoring.slices import Slicing

WORD = re.compile(r"\w+")
TRAIN_ROWS = 20_000
"""Rows of the train split whose words are counted: more change the counts of rare words only."""

DRIFT = ("like the training text", "between", "unlike the training text")
SHOWN = 40
"""Characters of a column's value that name a group."""

COLUMNS = ["id", "source", "row", "text", "choices", "target"]


def slicings(
    items: Sequence[Item],
    dataset: Dataset,
    raw: Raw | None,
    split: str,
    settings: SliceSettings,
) -> list[Slicing]:
    """Return every slicing that these items allow; items with nothing to part them by have none.

    Raises `RecipeError` for a column that the raw rows do not have.
    """
    rows = _rows(dataset, split)
    known = [rows.get(item.id) for item in items]
    found = [by_length(items, settings.bins)]
    if any(known):
        found += [by_label(known), by_drift(known, dataset)]
    found += by_columns(known, raw, settings)
    return [one for one in found if len(set(one.of) - {None}) > 1]


def by_length(items: Sequence[Item], bins: int) -> Slicing:
    """By tokens of the prompt, of plain text by its own, cut at quantiles."""
    lengths = [float(len(item.prompt) or len(item.text)) for item in items]
    values = [length or None for length in lengths]
    return _binned("length", values, bins, lambda low, high: f"{low:.0f} to {high:.0f} tokens")


def by_label(known: Sequence[Mapping[str, Any] | None]) -> Slicing:
    """By right label, where all rows have the same labels to choose from."""
    choices = {tuple(row["choices"] or ()) for row in known if row}
    names: tuple[str, ...] = choices.pop() if len(choices) == 1 else ()
    of = [names[row["target"]] if row and names and row["target"] >= 0 else None for row in known]
    return Slicing("label", names, tuple(of))


def by_drift(known: Sequence[Mapping[str, Any] | None], dataset: Dataset) -> Slicing:
    """By how far a text is from those trained on: thirds of its mean word surprise.

    The surprise of a word is -log2((n + 1) / (N + V + 1)) with n its count among the N words, V of
    them different, of the train split (add-one smoothing). Texts without words are in no group.
    """
    counts = Counter(
        word for row in _first(dataset, "train", TRAIN_ROWS) for word in _words(row["text"])
    )
    total = sum(counts.values()) + len(counts) + 1
    values: list[float | None] = []
    for row in known:
        found = _words(row["text"]) if row else []
        bits = [math.log2(total / (counts[word] + 1)) for word in found]
        values.append(sum(bits) / len(bits) if bits else None)
    edges = _edges([value for value in values if value is not None], len(DRIFT))
    of = [None if v is None else DRIFT[int(np.searchsorted(edges, v, "right"))] for v in values]
    return Slicing("text drift", DRIFT, tuple(of))


def by_columns(
    known: Sequence[Mapping[str, Any] | None], raw: Raw | None, settings: SliceSettings
) -> list[Slicing]:
    """By the values of columns of the raw rows."""
    if not settings.columns:
        return []
    if raw is None:
        raise RecipeError(
            "evaluation.slices.columns needs the raw rows",
            fix="run the line again, or leave columns out",
        )
    wanted = {(row["source"], row["row"]) for row in known if row}
    fields: dict[tuple[str, int], Mapping[str, Any]] = {}
    seen: dict[str, None] = {}
    with raw.rows.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            seen |= dict.fromkeys(row["fields"])
            if (row["source"], row["row"]) in wanted:
                fields[row["source"], row["row"]] = row["fields"]
    found = []
    for column in settings.columns:
        if column not in seen:
            raise RecipeError(
                f"evaluation.slices.columns: the rows have no column '{column}'"
                f"{did_you_mean(column, seen)}",
                fix=f"use some of: {', '.join(sorted(seen))}",
            )
        values = [
            fields.get((row["source"], row["row"]), {}).get(column) if row else None
            for row in known
        ]
        found.append(by_values(f"column {column}", values, settings))
    return found


def by_values(name: str, values: Sequence[Any], settings: SliceSettings) -> Slicing:
    """By a column's values: numbers of many kinds by quantiles, else the commonest and the rest."""
    numbers = [_number(value) for value in values]
    given = [value for value in values if value is not None]
    many = len({str(value) for value in given}) > settings.max_groups
    if many and len([number for number in numbers if number is not None]) == len(given):
        return _binned(name, numbers, settings.bins, lambda low, high: f"{low:g} to {high:g}")
    texts = [None if value is None else str(value)[:SHOWN] or "(empty)" for value in values]
    counts = Counter(text for text in texts if text is not None)
    order = sorted(counts, key=lambda text: (-counts[text], text))
    if len(order) <= settings.max_groups:
        return Slicing(name, tuple(order), tuple(texts))
    kept = order[: settings.max_groups - 1]
    of = [text if text is None or text in kept else "(all others)" for text in texts]
    return Slicing(name, (*kept, "(all others)"), tuple(of))


def _binned(name: str, values: Sequence[float | None], bins: int, label: Any) -> Slicing:
    """Part numbers at quantiles into groups that are named by their least and largest value."""
    given = [value for value in values if value is not None]
    edges = _edges(given, bins)
    at = [None if v is None else int(np.searchsorted(edges, v, "right")) for v in values]
    names = {}
    for number in sorted({one for one in at if one is not None}):
        inside = [v for v, one in zip(values, at, strict=True) if one == number and v is not None]
        names[number] = label(min(inside), max(inside))
    of = [None if one is None else names[one] for one in at]
    return Slicing(name, tuple(dict.fromkeys(names.values())), tuple(of))


def _edges(values: Sequence[float], bins: int) -> list[float]:
    """Return the inner quantiles, each once: equal values are never parted."""
    if not values:
        return []
    cuts = np.quantile(np.array(values), [n / bins for n in range(1, bins)])
    return sorted({float(cut) for cut in cuts} - {min(values)})


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


def _words(text: str) -> list[str]:
    return [word.lower() for word in WORD.findall(text)]


def _rows(dataset: Dataset, split: str) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in _first(dataset, split, None)}


def _first(dataset: Dataset, split: str, limit: int | None) -> list[dict[str, Any]]:
    """Return the first rows of a split; none where the data set has no such split."""
    import pyarrow.parquet as pq

    if dataset.split(split).name not in dataset.files:
        return []
    table = pq.read_table(dataset.split(split), columns=COLUMNS)
    rows: list[dict[str, Any]] = (table if limit is None else table.slice(0, limit)).to_pylist()
    return rows
