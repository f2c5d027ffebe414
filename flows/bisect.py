"""Which version of the rows made the model worse, then which file of it: short fine-tunes."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from components.contracts.errors import ArtefactError, DataError, RecipeError, SourceError
from components.contracts.events import Events, Silent
from components.scoring.items import Score
from flows.bisect_bench import Bench, Rows, open_bench
from flows.bisect_figures import figure_named, figure_of, noise
from flows.bisect_result import Bisected, ChangedFile, FilePoint, Point, Verdict
from flows.bisect_rows import changes, mixed
from flows.bisect_search import Ends, Span, doubts, most_looks, search
from flows.bisect_versions import DataVersion, bisect_folder, versions_between
from flows.environment import prepare, stay_offline

UNFIT = (DataError, SourceError, RecipeError)
"""A version that cannot be measured, with the reason; the search goes round it."""

SETTINGS = "the recipe's format and validation"


@dataclass
class Looked:
    """What has been measured: figures by point, and why others could not be."""

    figures: dict[int, float] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)


def bisect(
    root: Path,
    recipe: str,
    metric: str,
    good: str,
    bad: str,
    *,
    margin: float | None = None,
    max_steps: int = 100,
    events: Events | None = None,
) -> Bisected:
    """Find the version of a recipe's rows, between two git revisions, that made `metric` worse.

    Each version that is looked at is trained on with the recipe's settings for at most `max_steps`
    steps, and measured on the held-out rows of `good`. What was measured is kept: called again
    after an interruption, it goes on. `margin` is how much worse the bad end must be (default: the
    half width of the difference's 95 % paired bootstrap interval over the held-out rows).

    Raises:
        RecipeError: the metric, a revision or the recipe does not serve.
        ArtefactError: inputs are not to be had, or another bisect of this recipe is running.
        TunelineError: one of both ends cannot be trained on.
    """
    events = events or Silent()
    figure = figure_named(metric)
    prepare(root)
    versions = versions_between(root, recipe, good, bad)
    with alone(bisect_folder(root, recipe)) as folder:
        bench = open_bench(
            root, recipe, versions[0], folder=folder, metric=metric, max_steps=max_steps,
            events=events,
        )  # fmt: skip
        first, last = (_scores(bench, versions, n) for n in (0, len(versions) - 1))
        spread = noise(metric, first, last)
        ends = Ends(
            figure_of(metric, first),
            figure_of(metric, last),
            spread if margin is None else margin,
            figure.higher_is_better,
        )
        found = _searched(bench, versions, ends)
        found = found.model_copy(update={"noise": spread, "items": len(first)})
        shutil.rmtree(folder / "inputs")
        shutil.rmtree(folder / "work", ignore_errors=True)
    return found


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """Hold a recipe's bisect folder; raise `ArtefactError` if another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ArtefactError(
                f"another bisect of '{folder.name}' is running here",
                fix="wait for it: what it has measured need not be measured again",
            ) from error
        yield folder


def _scores(bench: Bench, versions: list[DataVersion], at: int) -> list[Score]:
    """Return the scores of a version; make the network known to be needed or not first."""
    bench.events.note(f"version {at} of {len(versions) - 1}: {versions[at].told()}")
    rows = bench.version(versions[at])
    if rows.recipe.source.kind != "hub":
        stay_offline()
    return bench.scores(rows)


def _searched(bench: Bench, versions: list[DataVersion], ends: Ends) -> Bisected:
    """Search among the versions, then among the files of the one that was found."""
    last = len(versions) - 1
    looked = Looked({0: ends.good, last: ends.bad})

    def is_bad(at: int) -> bool | None:
        try:
            looked.figures[at] = figure_of(bench.metric, _scores(bench, versions, at))
        except UNFIT as error:
            looked.reasons[at] = error.problem
            return None
        return ends.is_bad(looked.figures[at])

    result = Bisected(
        recipe=bench.name,
        metric=bench.metric,
        higher_is_better=ends.higher_is_better,
        max_steps=bench.recipe.training.max_steps,
        items=0,
        good=versions[0].commit,
        bad=versions[last].commit,
        good_figure=ends.good,
        bad_figure=ends.bad,
        noise=0.0,
        margin=ends.margin,
        outcome="nothing",
        versions=_points(versions, looked, ends),
        most_looks=most_looks(last),
    )
    if not ends.told_apart:
        return result.model_copy(update={"trained": bench.trained})
    span = search(last, is_bad)
    said = {
        "outcome": "suspects" if span.first_bad is None else "found",
        "versions": _points(versions, looked, ends),
        "suspects": [versions[n].commit for n in span.suspects],
        "looks": span.looks,
        "measured": len(looked.figures),
        "doubts": doubts(ends, looked.figures, span, lambda n: versions[n].short),
    }
    result = result.model_copy(update=said)
    if span.first_bad is not None:
        result = _within(bench, versions, span, ends, looked, result)
    return result.model_copy(update={"trained": bench.trained})


def _points(versions: list[DataVersion], looked: Looked, ends: Ends) -> list[Point]:
    return [
        Point(
            commit=one.commit,
            date=one.date,
            subject=one.subject,
            verdict=_verdict(at, looked, ends),
            figure=looked.figures.get(at),
            note=looked.reasons.get(at, ""),
        )
        for at, one in enumerate(versions)
    ]


def _verdict(at: int, looked: Looked, ends: Ends) -> Verdict:
    if at in looked.reasons:
        return "cannot be measured"
    if at not in looked.figures:
        return "not looked at"
    return "bad" if ends.is_bad(looked.figures[at]) else "good"


def _within(
    bench: Bench,
    versions: list[DataVersion],
    span: Span,
    ends: Ends,
    looked: Looked,
    result: Bisected,
) -> Bisected:
    """Name what the guilty version changed, and of several files the one that did it."""
    (at,) = span.suspects
    before, after = bench.version(versions[at - 1]), bench.version(versions[at])
    changed = changes(before.raw, after.raw)
    sections = _changed_sections(before, after)
    units = ([SETTINGS] if sections else []) + [one.file for one in changed]
    told = [ChangedFile(**vars(one), told=one.told()) for one in changed]
    result = result.model_copy(update={"changed": told, "changed_sections": sections})
    if len(units) < 2:
        return result.model_copy(update={"file": units[0] if changed else None})
    step = Ends(looked.figures[at - 1], looked.figures[at], ends.margin, ends.higher_is_better)
    return _among_files(bench, before, after, units, step, result)


def _changed_sections(before: Rows, after: Rows) -> list[str]:
    """Return `section.key: old → new` for what the recipe says otherwise of the rows."""
    old, new = before.recipe.flat(), after.recipe.flat()
    ours = [name for name in {**old, **new} if name.split(".")[0] in ("format", "validation")]
    return [
        f"{name}: {old.get(name)} → {new.get(name)}"
        for name in ours
        if old.get(name) != new.get(name)
    ]


def _among_files(
    bench: Bench, before: Rows, after: Rows, units: list[str], ends: Ends, result: Bisected
) -> Bisected:
    """Take over one change after the other, in order, and find the one that makes it bad."""
    looked = Looked({0: ends.good, len(units): ends.bad})

    def is_bad(count: int) -> bool | None:
        taken = units[:count]
        bench.events.note(f"with what changed up to {taken[-1]}")
        recipe = after.recipe if SETTINGS in taken else before.recipe
        raw = mixed(before.raw, after.raw, taken, bench.folder / "work" / "mixed")
        try:
            scores = bench.scores(Rows(raw, recipe, after.place))
        except UNFIT as error:
            looked.reasons[count] = error.problem
            return None
        looked.figures[count] = figure_of(bench.metric, scores)
        return ends.is_bad(looked.figures[count])

    span = search(len(units), is_bad)
    points = [
        FilePoint(
            upto=unit,
            verdict=_verdict(n, looked, ends),
            figure=looked.figures.get(n),
            note=looked.reasons.get(n, ""),
        )
        for n, unit in enumerate(units, start=1)
    ]
    told = [
        f"among the files: {one}"
        for one in doubts(ends, looked.figures, span, lambda n: units[n - 1])
    ]
    return result.model_copy(
        update={
            "files": points,
            "file": None if span.first_bad is None else units[span.first_bad - 1],
            "file_looks": span.looks,
            "measured": result.measured + len(looked.figures) - 2,
            "doubts": [*result.doubts, *told],
        }
    )
