"""Every metric by slice of the items, and the slice that is worst off.

A slicing parts the items into groups (by length, label, a column …). The more slices are looked at,
the worse the worst of them looks by chance: so its interval is also given for all slices together
(Bonferroni), and p values are corrected after Holm over all slices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.scoring.comparison import mcnemar, paired_interval
from components.scoring.items import Score
from components.scoring.measures import estimate, measure_named
from components.scoring.metrics import summarise, wilson
from components.scoring.paired import holm
from components.scoring.requests import Answer, marks_of
from components.scoring.text_comparison import compare_texts, interval, resample, two_sided

RESAMPLES = 999
"""Of a slice's items, for the intervals of ratios; p values of texts reach down to 0.002."""

FILE = "slices.parquet"
Task = Mapping[str, Sequence[Answer]]


@dataclass(frozen=True)
class Slicing:
    """One way to part the items: `of` holds the group of every item, in order, None for none."""

    name: str
    groups: tuple[str, ...]
    of: tuple[str | None, ...]

    def places(self, group: str) -> list[int]:
        return [place for place, name in enumerate(self.of) if name == group]


@dataclass(frozen=True)
class Slice:
    """The items of one group, by their places."""

    slicing: str
    group: str
    places: tuple[int, ...]


def slices_of(slicings: Sequence[Slicing]) -> list[Slice]:
    """Return every group that holds an item."""
    found = [
        Slice(one.name, group, tuple(one.places(group))) for one in slicings for group in one.groups
    ]
    return [one for one in found if one.places]


Groups = list[dict[str, Any]]
"""The slicings and their groups, both in order (a manifest sorts the keys of an object)."""


def write_slicings(folder: Path, ids: Sequence[str], slicings: Sequence[Slicing]) -> Groups:
    """Write the group of every item to `slices.parquet`; return the groups, as facts."""
    columns = {"id": list(ids)} | {one.name: list(one.of) for one in slicings}
    schema = pa.schema([(name, pa.string()) for name in columns])
    pq.write_table(pa.table(columns, schema=schema), folder / FILE)
    return [{"slicing": one.name, "groups": list(one.groups)} for one in slicings]


def read_slicings(folder: Path, groups: Groups) -> list[Slicing]:
    """Return the slicings that `write_slicings` wrote, whose return value `groups` is."""
    table = pq.read_table(folder / FILE)
    return [
        Slicing(one["slicing"], tuple(one["groups"]), tuple(table[one["slicing"]].to_pylist()))
        for one in groups
    ]


def measure_slices(
    slicings: Sequence[Slicing],
    scores: Sequence[Score],
    reference: Sequence[Score] | None = None,
    *,
    min_items: int,
    alpha: float,
    tasks: Task | None = None,
) -> dict[str, Any]:
    """Return {"slices": one row a slice, "compared", "worst", "harmed", "words"} of one model.

    A row has the slice's metrics, each with its 95 % interval, those of the tasks that asked the
    same items, and, with a `reference`, the paired comparison with it (`against`). Slices of fewer
    than `min_items` are shown but not judged. `worst` is the judged slice with the lowest accuracy
    (of plain text: the most bits per byte) against the rest of its slicing; `harmed` names the
    slices in which this model is worse than the reference with p ≤ `alpha` after Holm.
    """
    parts = slices_of(slicings)
    rows = [_row(part, scores, tasks or {}) for part in parts]
    judged = [at for at, part in enumerate(parts) if len(_measured(part, scores)) >= min_items]
    if reference is not None:
        _compare(rows, parts, judged, scores, reference)
    worst = _worst(rows, parts, judged, slicings, scores)
    harmed = [
        f"{rows[at]['slicing']}: {rows[at]['group']}"
        for at in judged
        if "against" in rows[at]
        and rows[at]["against"]["p_holm"] <= alpha
        and rows[at]["against"]["worse"]
    ]
    return {
        "slices": rows,
        "compared": len(judged),
        "worst": worst,
        "harmed": harmed,
        "words": words(worst, len(judged), min_items),
    }


def words(worst: Mapping[str, Any] | None, compared: int, min_items: int) -> str:
    """Say which slice is worst off, with the number of slices that were looked at."""
    if worst is None:
        return f"no two slices of a slicing have {min_items} items each: none is called the worst"
    low, high = worst["interval_all"]
    scale, unit, digits = (100, " %", 1) if worst["measure"] == "accuracy" else (1, "", 3)
    sure = "told apart" if worst["p_holm"] <= 0.05 else "not told apart"
    return (
        f"worst slice: {worst['slicing']} {worst['group']}, {worst['measure'].replace('_', ' ')} "
        f"{scale * worst['value']:.{digits}f}{unit} ({scale * low:.{digits}f} … "
        f"{scale * high:.{digits}f} for all {compared} slices together), {worst['items']} items; "
        f"the rest {scale * worst['rest']:.{digits}f}{unit}: {sure} "
        f"(p = {worst['p_holm']:.1g} after Holm over {compared} slices)"
    )


def _measured(part: Slice, scores: Sequence[Score]) -> list[int]:
    """Return the places of a slice that a judgement can be made of: answered, else read."""
    if any(score.answer_tokens for score in scores):
        return [place for place in part.places if scores[place].answer_tokens]
    return [place for place in part.places if scores[place].text_tokens]


def _row(part: Slice, scores: Sequence[Score], tasks: Task) -> dict[str, Any]:
    chosen = [scores[place] for place in part.places]
    metrics = summarise(chosen) | ratio_intervals(chosen)
    row: dict[str, Any] = {"slicing": part.slicing, "group": part.group, **metrics}
    row["texts"] = sum(score.text_tokens > 0 for score in chosen)
    if measured := _tasks(part, scores, tasks):
        row["tasks"] = measured
    return row


def ratio_intervals(scores: Sequence[Score]) -> dict[str, list[float] | None]:
    """Return the 95 % bootstrap intervals of both perplexities and of bits per byte."""
    answered = np.array([(s.answer_nll, s.answer_tokens) for s in scores if s.answer_tokens])
    read = np.array([(s.text_nll, s.text_tokens, s.text_bytes) for s in scores if s.text_tokens])
    found: dict[str, list[float] | None] = {
        "answer_perplexity_interval": None,
        "perplexity_interval": None,
        "bits_per_byte_interval": None,
    }
    if len(answered):
        sums = resample(answered.T, RESAMPLES, 0)
        found["answer_perplexity_interval"] = list(interval(np.exp(sums[0] / sums[1])))
    if len(read):
        sums = resample(read.T, RESAMPLES, 0)
        found["perplexity_interval"] = list(interval(np.exp(sums[0] / sums[1])))
        found["bits_per_byte_interval"] = list(interval(sums[0] / (sums[2] * np.log(2))))
    return found


def _tasks(part: Slice, scores: Sequence[Score], tasks: Task) -> dict[str, Any]:
    """Return the measures of every task that asked about these very items."""
    wanted = {scores[place].id for place in part.places}
    found = {}
    for name, answers in tasks.items():
        own = [one for one in answers if one.id in wanted]
        if own:
            found[name] = {m: estimate(measure_named(m), marks_of(own, m)) for m in own[0].marks}
    return found


def _compare(
    rows: Sequence[dict[str, Any]],
    parts: Sequence[Slice],
    judged: Sequence[int],
    scores: Sequence[Score],
    reference: Sequence[Score],
) -> None:
    """Add to every judged row how this model does against the reference on the slice's items."""
    for at in judged:
        places = _measured(parts[at], scores)
        ours, theirs = [scores[p] for p in places], [reference[p] for p in places]
        plain = not any(score.answer_tokens for score in ours)
        rows[at]["against"] = _texts(ours, theirs) if plain else _answers(ours, theirs)
    corrected = holm([rows[at]["against"]["p"] for at in judged])
    for at, p in zip(judged, corrected, strict=True):
        rows[at]["against"]["p_holm"] = p


def _answers(ours: Sequence[Score], theirs: Sequence[Score]) -> dict[str, Any]:
    gained = sum(a.right and not b.right for a, b in zip(ours, theirs, strict=True))
    lost = sum(b.right and not a.right for a, b in zip(ours, theirs, strict=True))
    return {
        "measure": "accuracy",
        "difference": (gained - lost) / len(ours),
        "interval": list(paired_interval(gained, lost, len(ours), seed=0)),
        "worse": lost > gained,
        "p": mcnemar(gained, lost),
    }


def _texts(ours: Sequence[Score], theirs: Sequence[Score]) -> dict[str, Any]:
    found = compare_texts(ours, theirs, resamples=RESAMPLES)
    return {
        "measure": "bits_per_byte",
        "difference": found.difference,
        "interval": list(found.interval),
        "worse": found.difference > 0,
        "p": found.p,
    }


def _worst(
    rows: Sequence[dict[str, Any]],
    parts: Sequence[Slice],
    judged: Sequence[int],
    slicings: Sequence[Slicing],
    scores: Sequence[Score],
) -> dict[str, Any] | None:
    """Return the judged slice that is worst off, against the rest of its slicing."""
    plain = not any(score.answer_tokens for score in scores)
    measure = "bits_per_byte" if plain else "accuracy"
    held = {at: _rest(parts[at], slicings, scores) for at in judged}
    judged = [at for at in judged if held[at]]
    if not judged:
        return None
    tests = {at: _test(_measured(parts[at], scores), held[at], scores, plain) for at in judged}
    corrected = dict(zip(judged, holm([tests[at]["p"] for at in judged]), strict=True))
    at = max(judged, key=lambda a: rows[a][measure] if plain else -rows[a][measure])
    z = NormalDist().inv_cdf(1 - 0.025 / len(judged))
    return {
        "slicing": rows[at]["slicing"],
        "group": rows[at]["group"],
        "measure": measure,
        "items": len(_measured(parts[at], scores)),
        "value": rows[at][measure],
        "interval": rows[at][f"{measure}_interval"],
        "interval_all": _interval_all(_measured(parts[at], scores), scores, z, plain),
        "p_holm": corrected[at],
        **tests[at],
    }


def _rest(part: Slice, slicings: Sequence[Slicing], scores: Sequence[Score]) -> list[int]:
    """Return the measured places of the other groups of a slice's slicing."""
    own = next(one for one in slicings if one.name == part.slicing)
    others = tuple(p for p, name in enumerate(own.of) if name not in (None, part.group))
    return _measured(Slice(own.name, "", others), scores)


def _test(
    part: Sequence[int], rest: Sequence[int], scores: Sequence[Score], plain: bool
) -> dict[str, float]:
    """Return what the rest scores, and p of no difference.

    Right answers by Fisher's exact test (1922); bits per byte by resampling both sides.
    """
    if plain:
        ours, theirs = _bits(part, scores), _bits(rest, scores)
        draws = [resample(side.T, RESAMPLES, seed) for seed, side in enumerate((ours, theirs))]
        p = two_sided(draws[0][0] / draws[0][1] - draws[1][0] / draws[1][1])
        sums = theirs.sum(0)
        return {"rest": float(sums[0] / sums[1]), "p": p}
    from scipy.stats import fisher_exact

    right = [sum(scores[place].right for place in side) for side in (part, rest)]
    table = [[right[0], len(part) - right[0]], [right[1], len(rest) - right[1]]]
    return {"rest": right[1] / len(rest), "p": float(fisher_exact(table).pvalue)}


def _bits(places: Sequence[int], scores: Sequence[Score]) -> Any:
    return np.array([(scores[p].text_nll, scores[p].text_bytes * np.log(2)) for p in places])


def _interval_all(
    places: Sequence[int], scores: Sequence[Score], z: float, plain: bool
) -> list[float]:
    """Return the interval that holds for all slices together: z is that of 1 - 0.05 / slices."""
    if plain:
        pairs = _bits(places, scores)
        draws = resample(pairs.T, RESAMPLES, 0)
        value, spread = pairs.sum(0)[0] / pairs.sum(0)[1], float((draws[0] / draws[1]).std())
        return [float(value - z * spread), float(value + z * spread)]
    return list(wilson(sum(scores[p].right for p in places), len(places), z))
