"""The line as a Prefect flow: one task a stage, made from dvc.yaml when it runs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import UUID

from httpx import HTTPError
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.alerts import on_done, on_failed
from flows.backoff import JITTER, delays
from flows.child import StageFailedError, Tell, allow_all, run_stage, stop_all
from flows.dvc_state import heal
from flows.environment import find_root, prepare
from flows.finished import forget
from flows.graph import Stage, read_line
from flows.locked import locked_hashes
from flows.names import identity, lineage_table
from flows.operation import OperationSettings
from flows.parameters import RecipeName, Stages
from flows.project import need_quota
from flows.recipe import Recipe, load_recipe
from flows.record import (
    Outcome,
    RunRecord,
    StageRecord,
    Status,
    manifest_key,
    open_flow_record,
    open_record,
    read_record,
    told_faults,
)
from flows.steps import LAST, STEPS
from flows.turn import turn


class LineFailedError(Exception):
    """A stage did not end well; says which, in that stage's own words."""


ACCELERATOR = Lock()
STATES: dict[Outcome, str] = {"ran": "Ran", "restored": "Restored", "cached": "Skipped"}
LEASE_S = 60.0
"""A flow that has died gives the accelerator back after this, the least that Prefect takes."""

SHORT_S = 30.0
"""How long the end of a failed run waits for MLflow: the next start closes what stays open."""

MLFLOW_STATUS: dict[Status, str] = {"finished": "FINISHED", "failed": "FAILED"}


def worth_retrying(task: Any, task_run: Any, state: State[Any]) -> bool:
    """Tell Prefect to try again only what may succeed: a broken line, not bad data."""
    try:
        state.result()
    except StageFailedError as error:
        return error.retry
    return True


@task(cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=worth_retrying)
def bring_up_to_date(
    stage: Stage, root: Path, run: str | None, force: bool, settled: bool = False
) -> State[Any]:
    """Run one stage through DVC and enter it into the MLflow run: Ran, Restored or Skipped.

    `settled` says that DVC has been asked already, and nothing before this stage can change.
    Without a `run` the whole line is settled, and an earlier run has all that is to be entered.
    """
    if run is None:
        return Completed(name=STATES["cached"], message="DVC: cached")
    from flows.patience import patiently

    tell = get_run_logger().info
    outcome: Outcome = "cached"
    if not settled:
        with slot(stage, tell):
            outcome = run_stage(stage, root, run, force=force, tell=tell)
    patiently(lambda: enter(stage, root, run, outcome), tell)
    return Completed(name=STATES[outcome], message=f"DVC: {outcome}")


@contextmanager
def slot(stage: Stage, tell: Tell) -> Iterator[None]:
    """Hold the accelerator for a stage that wants it: one stage of this line at a time.

    Where the server has the global limit `gpu`, other lines wait for it too. Without a GPU the
    cores take its place: two torch processes on them slow each other many times over.
    """
    from flows.patience import patiently

    if not stage.options.gpu:
        yield
        return
    with ACCELERATOR:
        held = patiently(take_gpu, tell)
        try:
            yield
        finally:
            try:
                held.close()
            except HTTPError as error:  # the work is done; the lease ends by itself
                tell(f"the GPU slot could not be given back: {error}")


def take_gpu() -> ExitStack:
    """Hold the global limit `gpu` where the server has it; closing what is returned ends that."""
    with get_client(sync_client=True) as client:
        limits = {limit.name for limit in client.read_global_concurrency_limits()}
    held = ExitStack()
    if "gpu" in limits:
        held.enter_context(concurrency("gpu", occupy=1, lease_duration=LEASE_S))
    return held


def enter(stage: Stage, root: Path, run: str, outcome: Outcome) -> None:
    """Write a stage into the record of this run and into MLflow."""
    from flows import tracking
    from flows.tracking import registration

    with open_record(root, stage.recipe, "prefect") as record:
        output = STEPS[stage.name].output
        key = manifest_key(root / "data" / stage.recipe / output)
        known = record.stages.get(stage.name)
        if outcome != "ran" or known is None or known.manifest_sha256 != key:
            record.add_stage(stage.name, StageRecord(outcome=outcome, manifest_sha256=key))
        record.credit()
        if output == LAST and record.registration is None:
            record.registration = registration(root / "data" / stage.recipe / output)
        entered = record.stages[stage.name]
    locked = locked_hashes(root, stage.recipe).get(stage.name)
    tracking.record_stage(root, run, stage.recipe, stage.name, entered, locked)


RUNNER: Any = ThreadPoolTaskRunner(max_workers=2)


@flow(
    name="finetune",
    flow_run_name="{recipe}",
    task_runner=RUNNER,
    persist_result=False,
    on_completion=[on_done],
    on_failure=[on_failed],
    on_crashed=[on_failed],
)
def finetune(recipe: RecipeName, force: Stages = None) -> State[Any]:
    """Bring every stage of a recipe up to date. `force` names stages to run even if unchanged.

    Runs in the project that the working directory belongs to. A verdict against the new model is
    a normal end.

    Raises:
        LineFailedError: a stage failed; with that stage's own message.
    """
    root = find_root(Path.cwd())
    prepare(root)
    need_quota(root)
    with turn(root, recipe, get_run_logger().info):
        return bring_line(root, recipe, set(force or ()))


def bring_line(root: Path, recipe: str, force: set[str]) -> State[Any]:
    """Run every stage that is not up to date, as one MLflow run."""
    for healed in heal(root):
        get_run_logger().warning(healed)
    settings = load_recipe(root, recipe)
    stages, changed = read_line(root, recipe)
    settled = up_to_date(stages, changed.keys() | force)
    if len(settled) == len(stages) and (told := read_record(root, recipe)) and is_told(told):
        return leave_line(root, recipe, stages, settings, told)
    run = open_run(root, stages, settings)
    status: Status = "failed"
    allow_all()
    try:
        futures = submit(stages, root, run, force, settled)
        wait(list(futures.values()))
        failed = [future.state for future in futures.values() if not future.state.is_completed()]
        status = "failed" if failed else "finished"
    finally:
        stop_all()
        close_run(root, recipe, run, status)
    if failed:
        # Raised, not returned as a state: Prefect retries a flow run only after an exception.
        raise LineFailedError(told_faults(root, recipe))
    keep_lock(root, recipe, run, settings.operation)
    return Completed(message=f"MLflow run {run}")


def is_told(record: RunRecord) -> bool:
    """Say whether MLflow has all of the last run, so that a line as it left it has no news."""
    return record.status == "finished" and record.mlflow_run_id is not None


def leave_line(
    root: Path, recipe: str, stages: list[Stage], settings: Recipe, last: RunRecord
) -> State[Any]:
    """End a flow run that finds nothing to do: it names the run that made what is there.

    It opens no MLflow run, which would say nothing new; MLflow is not even imported.
    """
    from flows.left_over import close_dead

    run = str(last.mlflow_run_id)
    everything = {stage.name for stage in stages}
    wait(list(submit(stages, root, None, set(), everything).values()))
    close_dead(root, recipe, get_run_logger().info)
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(str(flow_run.id)), tags=identity(root, recipe, run))
    table = [{**row, "outcome": "cached"} for row in lineage_table(root, recipe)]
    create_table_artifact(key="lineage", table=table)
    keep_lock(root, recipe, run, settings.operation)
    return Completed(message=f"nothing has changed since MLflow run {run}")


def keep_lock(root: Path, recipe: str, run: str, settings: OperationSettings) -> None:
    """Commit and push the lock as the recipe asks; what git refuses is noted, the run stands."""
    from flows.commit_lock import CommitError, commit_lock, push_lock

    logger = get_run_logger()
    if not settings.commit_lock:
        return
    try:
        commit = commit_lock(root, recipe, f"{recipe}: dvc.lock of MLflow run {run}\n")
        if commit:
            logger.info("dvc.lock committed: %s", commit)
        if settings.push_lock:
            push_lock(root, recipe)
    except CommitError as error:
        logger.warning("%s", error)


def submit(
    stages: list[Stage], root: Path, run: str | None, force: set[str], settled: set[str]
) -> dict[str, PrefectFuture[Any]]:
    """Start one task a stage, each waiting for those it reads from."""
    futures: dict[str, PrefectFuture[Any]] = {}
    for stage in stages:
        named = bring_up_to_date.with_options(
            name=stage.name,
            task_run_name=stage.name,
            retries=stage.options.retries,
            retry_delay_seconds=delays(stage.options.retry_delay_s, stage.options.retries),
            retry_jitter_factor=JITTER,
        )
        upstream = [futures[name] for name in stage.upstream]
        futures[stage.name] = named.submit(
            stage,
            root,
            run,
            stage.name in force,
            stage.name in settled,
            wait_for=upstream,
            return_state=False,
        )
    return futures


def up_to_date(stages: list[Stage], changed: set[str]) -> set[str]:
    """Return the stages that are unchanged and read from unchanged ones only, however far back."""
    settled: set[str] = set()
    for stage in stages:  # each after those it reads from
        if stage.name not in changed and settled.issuperset(stage.upstream):
            settled.add(stage.name)
    return settled


def open_run(root: Path, stages: list[Stage], settings: Recipe) -> str:
    """Open the one MLflow run of this flow run: the same again when the flow run is retried, and
    when another flow run goes on with what a crash has left.
    """
    from flows import tracking
    from flows.left_over import close_before, close_dead, may_go_on
    from flows.patience import patiently

    tell = get_run_logger().info
    flow_run_id, recipe = str(flow_run.id), stages[0].recipe
    before = read_record(root, recipe)
    goes_on = may_go_on(root, stages, before)
    with open_flow_record(root, recipe, flow_run_id, goes_on=goes_on):
        pass  # written before MLflow is asked: what is begun there can be found again

    def opened() -> str:
        with open_record(root, recipe, "prefect") as record:
            return tracking.open_run(root, record, settings)

    run = patiently(opened, tell)
    patiently(lambda: close_before(before, run, flow_run_id), tell)
    patiently(lambda: close_dead(root, recipe, tell), tell)
    with get_client(sync_client=True) as client:
        tags = identity(root, recipe, run)
        patiently(lambda: client.update_flow_run(UUID(flow_run_id), tags=tags), tell)
    return run


def close_run(root: Path, recipe: str, run: str, status: Status) -> None:
    """End the MLflow run, the record and Prefect's page of hashes alike.

    The record of a run that went well says so last: where MLflow cannot be told, the next start
    finds the run unfinished and closes it. The end of a failed run hides no fault of its stages.
    """
    from flows import tracking
    from flows.patience import patiently

    def close() -> None:
        tracking.close_run(run, MLFLOW_STATUS[status])

    tell = get_run_logger().info
    if status == "finished":
        patiently(close, tell)
        with open_record(root, recipe, "prefect") as record:
            record.status = status
        forget(root, recipe)
        table = lineage_table(root, recipe)
        patiently(lambda: create_table_artifact(key="lineage", table=table), tell)
        return
    try:
        with open_record(root, recipe, "prefect") as record:
            record.status = status
        patiently(close, tell, SHORT_S)
    except tracking.FAULTS as error:
        tell(f"the next start closes MLflow run {run}, which cannot be told now: {error}")
