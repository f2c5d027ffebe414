"""What a crash has left open: runs that say they go on, though nobody works on them any more."""

import fcntl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from flows.graph import Stage, changed_stages
from flows.record import RunRecord, open_record, read_git, read_record, record_file

ENDING_S = 15
"""A flow run whose record has its end may be telling Prefect so at this moment."""

OPEN = {StateType.RUNNING, StateType.PENDING, StateType.CANCELLING}
"""States of a run that somebody works on."""


def is_running(root: Path, recipe: str) -> bool:
    """Say whether a flow on the recipe is alive here: it holds the lock of `flows.turn`."""
    file = record_file(root, recipe).with_suffix(".turn")
    if not file.exists():
        return False
    with file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def may_go_on(root: Path, stages: Sequence[Stage], record: RunRecord | None) -> bool:
    """Say whether a new flow run may go on with an unfinished one, in its MLflow run.

    It may as long as nothing has changed: the commit is the same, and what stages of that run have
    read is still what DVC would make. (That the settings are the same is looked at in MLflow.)
    """
    if record is None or record.status == "finished":
        return False
    if record.git.commit != read_git(root).commit:
        return False
    met = record.begun | record.stages.keys()
    read = {name for stage in stages if stage.name in met for name in stage.upstream}
    return not (read & changed_stages(root, record.recipe).keys())


def close_dead(root: Path, recipe: str, tell: Callable[[str], None]) -> None:
    """Close what dead flows on other recipes have left open, in MLflow and in Prefect.

    Nobody may come back for them; the next run of such a recipe can still go on with its own.
    """
    for file in record_file(root, recipe).parent.glob("*.json"):
        other = file.stem
        record = read_record(root, other)
        dead = record and record.status == "running" and record.door == "prefect"
        if other == recipe or record is None or not dead or is_running(root, other):
            continue
        from flows import tracking  # only now: the import takes longer than all the rest
        from flows.patience import passes

        tell(f"the run of {other} has died: closed")
        try:
            if record.mlflow_run_id:
                tracking.close_dead_run(record.mlflow_run_id)
        except tracking.FAULTS as error:
            if passes(error):
                continue  # the next start closes it
        if record.prefect_flow_run_id:
            close_flow_run(record.prefect_flow_run_id, None)
        with open_record(root, other, "prefect") as changed:
            changed.status = "failed"


def close_flow_run(flow_run: str, successor: str | None, patience_s: int = 0) -> None:
    """Set a dead flow run, and its tasks that were running, to Crashed; one that ended stays so.

    With `patience_s` it may still be about to end: so long it gets.
    """
    told = f"its process is gone; flow run {successor} goes on" if successor else "it has died"
    crashed: State[None] = Crashed(message=told)
    number = UUID(flow_run)
    with get_client(sync_client=True) as client:
        for left in reversed(range(patience_s + 1)):
            try:
                found = client.read_flow_run(number)
            except ObjectNotFound:
                return
            if found.state is None or found.state.type not in OPEN:
                return
            time.sleep(1 if left else 0)
        close_tasks(client, number, crashed)
        client.set_flow_run_state(number, crashed, force=True)


def close_before(before: RunRecord | None, run: str, flow_run: str) -> None:
    """Close what the run before this one in a record has left open: nobody works on it any more."""
    from flows import tracking

    if before is None:
        return
    if before.mlflow_run_id not in (None, run):
        tracking.close_dead_run(str(before.mlflow_run_id))
    if before.prefect_flow_run_id not in (None, flow_run):
        ending = 0 if before.status == "running" else ENDING_S
        close_flow_run(str(before.prefect_flow_run_id), flow_run, ending)


def close_tasks(client: SyncPrefectClient, flow_run: UUID, crashed: State[None]) -> None:
    """Set the tasks of a dead flow run that were running to Crashed."""
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
    for task_run in client.read_task_runs(flow_run_filter=mine):
        if task_run.state is not None and task_run.state.type in OPEN:
            client.set_task_run_state(task_run.id, crashed, force=True)
