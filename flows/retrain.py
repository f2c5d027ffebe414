"""A scheduled tick as a Prefect flow: skip, score the champion again, or fine-tune."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from components.retraining.facts import Action
from flows.alerts import on_failed
from flows.environment import find_root, prepare
from flows.parameters import RecipeName
from flows.recipe import Recipe, load_recipe
from flows.record import read_record
from flows.retrain_act import record, scored_again
from flows.retrain_look import look
from flows.retrain_tick import Tick, alone
from flows.retrain_words import lines, markdown
from flows.turn import turn

STATES: dict[Action, str] = {
    "skip": "Skipped",
    "evaluate only": "Evaluated",
    "fine-tune": "FineTuned",
}


@flow(
    name="retrain",
    flow_run_name="{recipe}",
    persist_result=False,
    on_failure=[on_failed],
    on_crashed=[on_failed],
)
def retrain(recipe: RecipeName) -> State[Any]:
    """Compare a recipe's rows with those its champion saw, and train if that is worth it.

    Runs in the project that the working directory belongs to. Where nothing has changed no stage
    runs and no model is loaded. Of two ticks of one recipe in one working copy the second is
    skipped.

    Raises:
        LineFailedError: a fine-tune failed; with the stage's own message.
    """
    root = find_root(Path.cwd())
    prepare(root)
    settings = load_recipe(root, recipe)
    with alone(root, recipe) as first:
        if not first:
            return Completed(name="Skipped", message="another tick of this recipe is at work")
        return take_turn(root, recipe, settings, get_run_logger().info)


def take_turn(root: Path, recipe: str, settings: Recipe, tell: Callable[[str], Any]) -> State[Any]:
    """Look, decide, act and record."""
    from flows.incoming import take_incoming

    with turn(root, recipe, tell):  # given back before a fine-tune, which takes it itself
        take_incoming(root, recipe, settings, tell)
        settings = load_recipe(root, recipe)  # a file that was taken may be named there now
        tick = look(root, recipe, settings, tell)
        tick = tick.model_copy(update={"prefect_flow_run_id": str(flow_run.id)})
        if tick.decision.action == "evaluate only":
            tick = scored_again(root, recipe, settings, tick, tell)
    for line in lines(recipe, tick):
        tell(line)
    if tick.decision.action == "fine-tune":
        train(root, recipe, tick)
    else:
        tick = record(root, recipe, tick, tick.champion.run if tick.champion else None)
        publish(recipe, tick)
    return Completed(name=STATES[tick.decision.action], message="; ".join(tick.decision.reasons))


def train(root: Path, recipe: str, tick: Tick) -> None:
    """Fine-tune as a flow of its own within this one; the decision stands before it begins.

    How often it has failed on these rows is counted, so that it is not tried for ever.
    """
    from flows.finetune import finetune
    from flows.retrain_start import begin_from

    tick = record(root, recipe, tick.model_copy(update={"failures": tick.failures + 1}), None)
    publish(recipe, tick)
    before = read_record(root, recipe)
    begin_from(root, recipe, tick)
    try:
        finetune(recipe)
    finally:
        after = read_record(root, recipe)
        if after and after.mlflow_run_id and after != before:
            record(root, recipe, tick, after.mlflow_run_id)
    run = after.mlflow_run_id if after else None
    record(root, recipe, tick.model_copy(update={"failures": 0}), run)


def publish(recipe: str, tick: Tick) -> None:
    """Put the decision on the flow run's page."""
    create_markdown_artifact(
        markdown(recipe, tick),
        key=f"retrain-{re.sub('[^a-z0-9]+', '-', recipe)}",
        description=f"{recipe}: {tick.decision.action}",
    )
