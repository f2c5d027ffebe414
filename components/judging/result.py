"""What came of the ratings so far: numbers and words."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

from components.judging.pairs import Pair
from components.judging.ratings import TIE, Rating, standing
from components.judging.statistics import (
    Tally,
    alpha_interval,
    cohen_kappa,
    krippendorff_alpha,
    majority,
)
from components.scoring.comparison import mcnemar

By = dict[str, dict[str, int]]
"""Pair → rater → 1 for the model, -1 for its reference, 0 for a tie."""


def result(
    pairs: Sequence[Pair], ratings: Iterable[Rating], model: str, reference: str
) -> dict[str, Any]:
    """Return the facts of all ratings of `pairs`.

    `overall` counts each item once, by the majority of its raters; `raters` counts each of them
    alone. `other` is the number of ratings of pairs that are not on the sheet (any more).
    """
    keys = {pair.key for pair in pairs}
    stand = standing(ratings)
    said = [one for one in stand.values() if one.pair in keys]
    by = _by_pair(said, model)
    names = sorted({one.rater for one in said})
    return {
        "overall": _tally([majority(list(s.values())) for s in by.values()], model, reference),
        "raters": {
            name: _tally([s[name] for s in by.values() if name in s], model, reference)
            for name in names
        },
        "pairs": len(pairs),
        "ratings": len(said),
        "other": len(stand) - len(said),
        "agreement": agreement(by),
        "first_shown": first_shown(said),
    }


def agreement(by: By) -> dict[str, Any] | None:
    """Return how far raters agree on the items that two or more have rated; `None` without any.

    Krippendorff's alpha over all of them, with its interval; Cohen's kappa for each two raters.
    """
    units = [list(said.values()) for said in by.values() if len(said) > 1]
    if not units:
        return None
    alpha = krippendorff_alpha(units)
    kappa = {}
    for one, other in combinations(sorted({name for said in by.values() for name in said}), 2):
        both = [(said[one], said[other]) for said in by.values() if one in said and other in said]
        if both:
            kappa[f"{one}, {other}"] = cohen_kappa(both)
    return {
        "items": len(units),
        "unanimous": sum(len(set(unit)) == 1 for unit in units),
        "alpha": alpha,
        "alpha_interval": alpha_interval(units),
        "kappa": kappa,
        "words": _agreement_words(units, alpha),
    }


def first_shown(said: Sequence[Rating]) -> dict[str, Any]:
    """Return how often the answer that stood first was chosen: far from half, place decided."""
    decided = [one for one in said if one.choice != TIE]
    first = sum(one.choice == one.first for one in decided)
    return {"chosen": first, "of": len(decided), "p": mcnemar(first, len(decided) - first)}


def _agreement_words(units: Sequence[Sequence[int]], alpha: float | None) -> str:
    same = sum(len(set(unit)) == 1 for unit in units)
    told = f"raters agree on {same} of {len(units)} items that two or more have rated"
    if alpha is None:
        return f"{told}; they made no difference between items, so alpha is not defined"
    return f"{told}; Krippendorff's alpha {alpha:.2f} (1: always, 0: as by chance)"


def _by_pair(said: Iterable[Rating], model: str) -> By:
    by: By = defaultdict(dict)
    for one in said:
        by[one.pair][one.rater] = 0 if one.choice == TIE else 1 if one.choice == model else -1
    return by


def _tally(signs: Sequence[int], model: str, reference: str) -> dict[str, Any]:
    return Tally(model, reference, signs.count(1), signs.count(-1), signs.count(0)).facts()
