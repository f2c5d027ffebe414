"""What a tick does after its look: tags, the page, scoring the champion again."""

from pathlib import Path

from components.retraining.decide import decide
from components.retraining.facts import Rescored
from flows.child import Tell
from flows.recipe import Recipe
from flows.retrain_tick import Tick, write_tick
from flows.retrain_words import tags


def record(root: Path, recipe: str, tick: Tick, run: str | None) -> Tick:
    """Write a tick down: as the last one here, and as tags of an MLflow run, if there is one."""
    tick = tick.model_copy(update={"mlflow_run_id": run})
    write_tick(root, recipe, tick)
    if run is not None:
        from flows.store import client

        store = client()
        for name, value in tags(tick).items():
            store.set_tag(run, name, value)
    return tick


def scored_again(root: Path, recipe: str, settings: Recipe, tick: Tick, tell: Tell) -> Tick:
    """Score the champion on the held-out rows of now, and decide again with what it has.

    A skip after that is still an evaluation: the reasons say what was found. An attempt that fails
    is counted first, so that it is not made for ever. Raises `DataError` if it cannot be scored.
    """
    from flows.rescore import rescore_now

    run = tick.champion.run if tick.champion else None
    record(root, recipe, tick.model_copy(update={"failures": tick.failures + 1}), run)
    found = rescore_now(root, recipe, tick.champion.dataset if tick.champion else None, tell)
    log_scores(recipe, tick, found)
    facts = tick.facts.model_copy(update={"rescored": found})
    decision = decide(facts, settings.retrain)
    if decision.action == "skip":
        decision = decision.model_copy(update={"action": "evaluate only"})
    return tick.model_copy(update={"facts": facts, "decision": decision, "failures": 0})


def log_scores(recipe: str, tick: Tick, found: Rescored) -> None:
    """Log what the champion scored as a run of its own beside those that made models."""
    from flows.store import client

    store = client()
    experiment = store.get_experiment_by_name(recipe)
    version = tick.champion.version if tick.champion else "none"
    if experiment is None:
        return
    run = store.create_run(
        experiment.experiment_id, run_name=f"{recipe} version {version} again {tick.at}"
    ).info.run_id
    for name, value in {**tags(tick), "recipe": recipe, "champion.version": version}.items():
        store.set_tag(run, name, value)
    for part, half in (("known", found.known), ("fresh", found.fresh)):
        for name in ("items", "accuracy", "bits_per_byte"):
            value = getattr(half, name)
            if value is not None:
                store.log_metric(run, f"champion.{part}.{name}", float(value))
    store.set_terminated(run, "FINISHED")
