"""Data events: told to a Prefect server where there is one, and what a server does on them."""

import sys
from collections.abc import Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from flows.child import Tell

ADDED = "tuneline.data.added"
RESOURCE = "tuneline.recipe."
PATIENCE_S, DRAIN_S = 5, 20
FLOW = "retrain"


def rows_came(recipe: str, files: Sequence[str], tell: Tell | None = None) -> bool:
    """Tell the Prefect server that is set up that a recipe has new rows; return whether it heard.

    Never raises: rows are there without an event too, and the next tick sees them.
    """
    address = server()
    if address is None:
        return False
    if not _answers(address):
        _say(tell, f"the Prefect server at {address} does not answer: it was not told of the rows")
        return False
    from prefect.events import emit_event
    from prefect.events.worker import EventsWorker

    sent = emit_event(
        ADDED,
        resource={
            "prefect.resource.id": f"{RESOURCE}{recipe}",
            "prefect.resource.name": recipe,
        },
        payload={"recipe": recipe, "files": list(files)},
    )
    EventsWorker.drain_all(timeout=DRAIN_S, at_exit=False)
    return sent is not None


def server() -> str | None:
    """Return the address of the Prefect server that the environment or a profile names."""
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value()
    return str(address) if address else None


def automate(deployments: Sequence[Any] | None = None) -> list[str]:
    """Make the server start a `retrain` deployment when its recipe has new rows.

    One automation a deployment of the flow `retrain` that names a recipe, made or renewed; returns
    their names. `deployments` are those that the server has unless given.
    """
    from prefect.automations import Automation
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import EventTrigger, Posture

    found = _deployments() if deployments is None else deployments
    names = []
    for deployment in found:
        recipe = (deployment.parameters or {}).get("recipe")
        if not recipe:
            continue
        name = f"{FLOW} {recipe} when rows come"
        _replace(
            Automation(
                name=name,
                description=f"runs {deployment.name} on the event {ADDED} of {recipe}",
                trigger=EventTrigger(
                    expect={ADDED},
                    match={"prefect.resource.id": f"{RESOURCE}{recipe}"},
                    posture=Posture.Reactive,
                    threshold=1,
                    within=0,  # type: ignore[arg-type]
                ),
                actions=[
                    RunDeployment(
                        source="selected",
                        deployment_id=deployment.id,
                        parameters={"recipe": recipe},
                        job_variables=None,
                    )
                ],
            )
        )
        names.append(name)
    return names


def _deployments() -> list[Any]:
    """Return the deployments of the flow `retrain`, one a recipe: the first by name."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    wanted = FlowFilter(name=FlowFilterName(any_=[FLOW]))
    with get_client(sync_client=True) as client:
        found = client.read_deployments(flow_filter=wanted)
    chosen: dict[Any, Any] = {}
    for deployment in sorted(found, key=lambda one: one.name):
        chosen.setdefault((deployment.parameters or {}).get("recipe"), deployment)
    return list(chosen.values())


def _replace(automation: Any) -> None:
    """Create an automation in place of those of its name."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for old in client.read_automations_by_name(automation.name):
            client.delete_automation(old.id)
    automation.create()


def _answers(address: str) -> bool:
    try:
        with urlopen(f"{address.rstrip('/')}/health", timeout=PATIENCE_S):
            return True
    except HTTPError:  # it is there, and wants a key that Prefect's own client has
        return True
    except (URLError, OSError, ValueError):
        return False


def _say(tell: Tell | None, line: str) -> None:
    if tell is None:
        print(line, file=sys.stderr)
    else:
        tell(line)
