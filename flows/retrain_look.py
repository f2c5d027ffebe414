"""A tick's look: from hashes alone where nothing changed, else by validating the rows."""

from dataclasses import dataclass
from pathlib import Path

from components.contracts.errors import TunelineError
from components.retraining.decide import decide
from components.retraining.facts import ChampionFacts, DataFacts, Facts, Tried
from flows.child import Tell
from flows.locked import locked_hashes
from flows.recipe import Recipe
from flows.retrain_champion import Known, champion_now
from flows.retrain_inputs import Inputs, inputs_locked, inputs_now, lock_stages
from flows.retrain_tick import Tick, read_tick


@dataclass(frozen=True)
class Seen:
    """What the cheap facts are: hashes of now, the champion and the last tick.

    `stale`: the rows were not ingested and validated as they are now. `moved`: an unpinned source
    has other marks than when it was read.
    """

    inputs: Inputs
    champion: Known | None
    before: Tick | None
    stale: bool
    moved: bool
    marks: dict[str, object]

    @property
    def changed(self) -> bool:
        return self.moved or self.champion is None or self.champion.inputs != self.inputs

    @property
    def same_as_before(self) -> bool:
        """Whether the last tick has compared these rows with this champion."""
        last = self.before
        return (
            last is not None
            and not self.moved
            and last.inputs == self.inputs
            and (last.champion and last.champion.version)
            == (self.champion and self.champion.version)
        )


def look(root: Path, recipe: str, settings: Recipe, tell: Tell) -> Tick:
    """Return what a tick finds and decides; nothing is recorded, scored or trained yet.

    Where the inputs are the champion's, no stage runs; where they are those of the last tick, its
    comparison counts.
    """
    seen = see(root, recipe, settings)
    if seen.champion is not None and not seen.changed:
        return _tick(seen, Facts(champion=_facts(seen.champion), changed=False), settings)
    from flows.retrain_budget import budget

    data, fault = _data(root, recipe, seen, tell)
    if seen.moved or seen.stale:
        seen = see(root, recipe, settings, read=True)
    facts = Facts(
        champion=_facts(seen.champion, _adapter(root, recipe, settings, seen.champion))
        if seen.champion
        else None,
        changed=True,
        fault=fault,
        data=data,
        tried=_tried(root, recipe, settings, seen.champion) if fault is None else None,
        failures=seen.before.failures if seen.before and seen.same_as_before else 0,
        rescored=seen.before.facts.rescored if seen.before and seen.same_as_before else None,
        budget=budget(root, recipe),
    )
    return _tick(seen, facts, settings)


def see(root: Path, recipe: str, settings: Recipe, *, read: bool = False) -> Seen:
    """Return the cheap facts; `read`: the rows have just been read as they are."""
    from flows.retrain_marks import marks_of

    before = read_tick(root, recipe)
    champion = champion_now(settings, before.champion if before else None)
    inputs = inputs_now(root, recipe, settings)
    marks = marks_of(settings)
    moved = not read and bool(marks) and marks != (before.marks if before else None)
    locked = inputs_locked(lock_stages(root), recipe, settings)
    return Seen(inputs, champion, before, locked != inputs, moved, marks)


def _tick(seen: Seen, facts: Facts, settings: Recipe) -> Tick:
    return Tick(
        decision=decide(facts, settings.retrain),
        facts=facts,
        inputs=seen.inputs,
        champion=seen.champion,
        marks=seen.marks,
        failures=facts.failures,
    )


def _facts(champion: Known, adapter: bool = False) -> ChampionFacts:
    age = round(champion.age_days, 4)
    return ChampionFacts(version=champion.version, age_days=age, adapter=adapter)


def _adapter(root: Path, recipe: str, settings: Recipe, champion: Known) -> bool:
    """Say whether training can go on from the champion; asked only where the recipe wants that."""
    from flows.retrain_start import can_go_on

    return settings.retrain.start == "champion" and can_go_on(root, recipe, settings, champion)


def _data(root: Path, recipe: str, seen: Seen, tell: Tell) -> tuple[DataFacts | None, str | None]:
    """Return the comparison with the champion's rows, or why the rows are not fit.

    What says nothing of the rows (a line cut off, a stage that is busy) is raised: the next tick
    tries again.
    """
    from flows.retrain_data import checked_now, compared
    from flows.unfit import unfit

    last = seen.before
    if last and seen.same_as_before and seen.stale and last.facts.fault:
        return None, last.facts.fault  # nobody has mended anything since
    if last and seen.same_as_before and not seen.stale and last.facts.data:
        return last.facts.data, None
    tell("the rows are not those that the champion saw: validating")
    try:
        checked_now(root, recipe, tell, ingest=seen.moved)
    except TunelineError as error:
        if not unfit(root, recipe, error):
            raise
        return None, str(error)
    if seen.champion is None:
        return None, None
    now = locked_hashes(root, recipe).get("validate")
    return compared(root, recipe, seen.champion.dataset, now), None


def _tried(root: Path, recipe: str, settings: Recipe, champion: Known | None) -> Tried | None:
    """Return the newest version that was made of the data set of now and is not champion."""
    from flows.store import client

    dataset = locked_hashes(root, recipe).get("validate")
    if dataset is None:
        return None
    found = [
        one
        for one in client().search_model_versions(f"name = '{settings.registry.name}'")
        if one.tags.get("dvc.dataset") == dataset
        and str(one.version) != (champion.version if champion else None)
    ]
    if not found:
        return None
    newest = max(found, key=lambda one: int(one.version))
    return Tried(version=str(newest.version), verdict=str(newest.tags.get("verdict", "unknown")))
