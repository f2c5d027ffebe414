"""A flow whose machine has gone tells nobody: Prefect must see that its heart stands still.

Where a worker lives, it reports the end of its flows itself, in seconds. Where both went at once
the run would stay Running for ever: so a server gets one automation, which sets what has not been
heard of for `SILENT_S` seconds to Crashed. (`prepare` has every flow beat each 30 seconds.)
"""

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

NAME = "tuneline: flows that have died"
BEAT = "prefect.flow-run.heartbeat"
SILENT_S = 100
"""Three beats missed, and a little more."""

ENDS = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Crashed", "Cancelled")}


def automation() -> AutomationCore:
    """Return the automation that sets flows without a heartbeat to Crashed."""
    trigger = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        for_each={"prefect.resource.id"},
        after={BEAT},
        expect={BEAT} | ENDS,
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=SILENT_S),
    )
    told = f"no heartbeat for {SILENT_S} s: its process or machine is gone"
    action = ChangeFlowRunState(state=StateType.CRASHED, name=None, message=told, force=False)
    return AutomationCore(name=NAME, trigger=trigger, actions=[action])


def watch_heartbeats(client: SyncPrefectClient) -> None:
    """See that the server has the automation, as it is written here; may be called again."""
    wanted = automation()
    known = client.read_automations_by_name(NAME)
    if known:
        client.update_automation(known[0].id, wanted)
    else:
        client.create_automation(wanted)
