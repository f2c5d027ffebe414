"""The dependency canary as a Prefect flow, for a nightly deployment."""

from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.alerts import on_failed
from flows.canary_environment import CanaryError
from flows.canary_run import canary as check
from flows.canary_run import markdown, told
from flows.canary_start import interpreter
from flows.environment import find_root, prepare
from flows.parameters import Described, RecipeFile

Constraint = Annotated[
    str | None, Described("A pip constraints file that limits the newest packages")
]
Interpreter = Annotated[
    str | None, Described("A Python to check as it is, instead of a new environment")
]


@flow(
    name="canary",
    flow_run_name="canary-{recipe}",
    persist_result=False,
    on_failure=[on_failed],
    on_crashed=[on_failed],
)
def canary(
    recipe: RecipeFile = "tiny", constraint: Constraint = None, python: Interpreter = None
) -> None:
    """Train `recipe` with the locked and with the newest allowed packages, and compare.

    `constraint` is a pip constraints file for the newest, `python` an interpreter that is taken
    instead of a new environment. The report is an artefact of the flow run.

    Raises:
        CanaryError: a bump breaks the line (so that the flow run fails, and alerts on failures tell
            it), or nothing can be compared.
        UnreachableError: pip reaches no index.
    """
    root = find_root(Path.cwd())
    prepare(root)
    tell = get_run_logger().info
    chosen = interpreter(root, python, Path(constraint) if constraint else None, tell)
    found = check(root, recipe, chosen, tell=tell)
    create_markdown_artifact(markdown(found), key="canary", description=found.words())
    for line in told(found):
        tell(line)
    if not found.sound:
        raise CanaryError(found.words(), fix="the flow run's artefact `canary` says more")
