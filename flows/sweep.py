"""A sweep as a Prefect flow, for deployments: what `tuneline sweep` does, by schedule or form."""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import PositiveInt

from flows.alerts import on_failed
from flows.environment import find_root, prepare, stay_offline
from flows.made import open_made
from flows.parameters import Described, RecipeName
from flows.recipe import load_recipe
from flows.recipe_values import write_values
from flows.sweep_cli import line, settings_of
from flows.sweep_run import Sweep, best_of, run_sweep

Trials = Annotated[
    PositiveInt | None, Described("How many; as the recipe says where it is left empty")
]
Write = Annotated[bool, Described("Put the best settings into the recipe, for the line's next run")]


@flow(
    name="sweep",
    flow_run_name="sweep {recipe}",
    persist_result=False,
    on_failure=[on_failed],
    on_crashed=[on_failed],
)
def sweep(recipe: RecipeName, trials: Trials = None, write: Write = False) -> dict[str, Any]:
    """Run the recipe's `sweep` section; return the best trial's settings and its validation loss.

    With `write` they are put into the recipe, so that the line's next run trains with them and its
    gate judges what comes out.
    """
    root = find_root(Path.cwd())
    prepare(root)
    stay_offline()
    loaded = load_recipe(root, recipe)
    settings = settings_of(loaded, recipe, [], {"trials": trials})
    base, tokens = open_made(root, recipe)
    tell = get_run_logger().info
    found = run_sweep(
        Sweep(root, recipe, settings, loaded.training, base, tokens),
        lambda trial: tell(line(trial, settings.count)),
        tell,
    )
    best = best_of(found)
    if best is None or best.result is None:  # run_sweep has raised before
        return {}
    if write:
        write_values(root, recipe, best.spec.parameters)
    return {**best.spec.parameters, "eval_loss": best.result.value}
