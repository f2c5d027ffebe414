"""A small flow for a schedule of minutes: takes files that have come, and tells the server."""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.alerts import on_first_failure, went_well
from flows.environment import find_root, prepare
from flows.incoming import take_incoming
from flows.parameters import RecipeName
from flows.recipe import load_recipe
from flows.retrain_events import rows_came
from flows.retrain_tick import alone


@flow(
    name="watch",
    flow_run_name="{recipe}",
    persist_result=False,
    on_failure=[on_first_failure],
    on_crashed=[on_first_failure],
)
def watch(recipe: RecipeName) -> State[Any]:
    """Add what lies in data/incoming/RECIPE/, or in the bucket that the recipe names, to its rows.

    Then tells the server, whose automation runs the deployment of `retrain` (`flows.retrain_events`
    makes it). Does nothing where nothing has come, or while a tick of the recipe is at work.
    """
    root = find_root(Path.cwd())
    prepare(root)
    tell = get_run_logger().info
    with alone(root, recipe) as first:
        if not first:
            return Completed(name="Skipped", message="a tick of this recipe is at work")
        taken = take_incoming(root, recipe, load_recipe(root, recipe), tell)
    went_well("watch", root, recipe)
    if not taken:
        return Completed(name="Skipped", message="nothing has come")
    files = [added.file for added in taken]
    rows_came(recipe, files, tell)
    return Completed(message=f"taken: {', '.join(files)}")
