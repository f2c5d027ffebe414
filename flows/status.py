"""`tuneline status`: what runs, what ran last, what runs next, and how full the disk is."""

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from flows.deploy import deployments
from flows.project import disk_use, project_settings
from flows.recipe import listed
from flows.record import read_record
from flows.up_state import WORKER, Servers, read_servers

LAST = 8
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
GOING = ("RUNNING", "PENDING", "CANCELLING", "PAUSED")


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServiceFacts(_Facts):
    """A process of `tuneline up`. `page` is empty for the worker."""

    name: str
    alive: bool
    pid: int
    started: str
    page: str
    log: str


class WorkerFacts(_Facts):
    """A worker that the server knows, on this machine or another."""

    name: str
    online: bool
    last_heartbeat: str | None


class FlowRunFacts(_Facts):
    """A flow run; times are in UTC."""

    id: str
    name: str
    deployment: str | None
    state: str
    start: str | None
    seconds: float | None


class NextFacts(_Facts):
    """A deployment with its schedules and the next planned run."""

    deployment: str
    schedules: list[str]
    next_run: str | None


class RecipeFacts(_Facts):
    """The last run of a recipe in this working copy."""

    recipe: str
    status: str | None
    started: str | None
    mlflow_run_id: str | None


class DiskFacts(_Facts):
    """Bytes of this project by place, the quota if one is set, and what is free on the disk."""

    used: dict[str, int]
    total: int
    quota: int | None
    free: int


class StatusFacts(_Facts):
    """All of it. `prefect` and `mlflow` are addresses; None where no server is known."""

    prefect: str | None
    mlflow: str | None
    services: list[ServiceFacts]
    workers: list[WorkerFacts]
    gpu: dict[str, int] | None
    going: list[FlowRunFacts]
    last: list[FlowRunFacts]
    late: int
    next: list[NextFacts]
    recipes: list[RecipeFacts]
    disk: DiskFacts

    @property
    def faults(self) -> list[str]:
        """What should run and does not, in words."""
        told = [f"{one.name} has died: {one.log}" for one in self.services if not one.alive]
        if self.prefect and self.next and not any(one.online for one in self.workers):
            told.append("no worker is online: scheduled runs wait")
        if self.disk.quota is not None and self.disk.total > self.disk.quota:
            told.append("the disk quota is used up: no run starts; see `tuneline gc`")
        return told


def gather_status(root: Path) -> StatusFacts:
    """Ask state file, Prefect server, records and disk."""
    servers = read_servers(root)
    api = os.environ.get("PREFECT_API_URL")
    asked = _ask() if api else {}
    mlflow = servers.alive().get("MLflow") if servers else None
    tracking = os.environ["MLFLOW_TRACKING_URI"]
    return StatusFacts(
        prefect=api.removesuffix("/api") if api else None,
        mlflow=mlflow.page if mlflow else tracking if tracking.startswith("http") else None,
        services=_services(servers) if servers else [],
        workers=asked.get("workers", []),
        gpu=asked.get("gpu"),
        going=asked.get("going", []),
        last=asked.get("last", []),
        late=asked.get("late", 0),
        next=asked.get("next", []),
        recipes=[_recipe(root, name) for name in listed(root)],
        disk=_disk(root),
    )


def _services(servers: Servers) -> list[ServiceFacts]:
    alive = servers.alive()
    return [
        ServiceFacts(
            name=name,
            alive=name in alive,
            pid=one.pid,
            started=one.started,
            page=one.page,
            log=one.log,
        )
        for name, one in servers.services.items()
    ]


def _recipe(root: Path, name: str) -> RecipeFacts:
    record = read_record(root, name)
    return RecipeFacts(
        recipe=name,
        status=record.status if record else None,
        started=record.started if record else None,
        mlflow_run_id=record.mlflow_run_id if record else None,
    )


def _disk(root: Path) -> DiskFacts:
    import shutil

    used, quota = disk_use(root), project_settings(root).disk_quota_gb
    return DiskFacts(
        used=used,
        total=sum(used.values()),
        quota=round(quota * 1e9) if quota is not None else None,
        free=shutil.disk_usage(root).free,
    )


def _ask() -> dict[str, Any]:
    """Return what the Prefect server says; raise `ArtefactError` if it does not answer."""
    import httpx
    from prefect.client.orchestration import get_client

    from components.contracts.errors import ArtefactError
    from flows.server import workers
    from flows.up import GPU, POOL

    try:
        with get_client(sync_client=True) as client:
            limits = {one.name: one for one in client.read_global_concurrency_limits()}
            going, last, late = (_runs(client, kinds) for kinds in (GOING, ENDED, None))
        gpu = limits.get(GPU)
        return {
            "workers": [_worker(one) for one in workers(POOL)],
            "gpu": {"slots": gpu.limit, "taken": round(gpu.active_slots)} if gpu else None,
            "going": going,
            "last": last,
            "late": len(late),
            "next": [
                NextFacts(deployment=one.name, schedules=list(one.schedules), next_run=one.next_run)
                for one in deployments()
            ],
        }
    except httpx.HTTPError as error:
        raise ArtefactError(
            f"the Prefect server at {os.environ['PREFECT_API_URL']} does not answer: "
            f"{type(error).__name__}",
            fix="tuneline up, or mend PREFECT_API_URL",
        ) from error


def _runs(client: Any, kinds: tuple[str, ...] | None) -> list[FlowRunFacts]:
    """Return the newest flow runs in such states; None: those that should have begun."""
    from prefect.client.schemas.sorting import FlowRunSort

    from flows.server import in_state, late

    found = client.read_flow_runs(
        flow_run_filter=in_state(*kinds) if kinds else late(),
        sort=FlowRunSort.START_TIME_DESC,
        limit=LAST if kinds else 200,
    )
    return [
        FlowRunFacts(
            id=str(run.id),
            name=run.name,
            deployment=str(run.deployment_id) if run.deployment_id else None,
            state=run.state_name or "unknown",
            start=f"{run.start_time:%Y-%m-%d %H:%M:%S}" if run.start_time else None,
            seconds=round(run.total_run_time.total_seconds(), 1) if run.total_run_time else None,
        )
        for run in found
    ]


def _worker(found: Any) -> WorkerFacts:
    at = found.last_heartbeat_time
    return WorkerFacts(
        name=found.name,
        online=str(getattr(found.status, "value", found.status)) == "ONLINE",
        last_heartbeat=f"{at:%Y-%m-%d %H:%M:%S}" if at else None,
    )


def told(facts: StatusFacts) -> list[str]:
    """Return the status as lines for people."""
    lines = [
        f"{one.name:<9}{one.page or one.name + ' of the pool'}  "
        + (f"pid {one.pid}, since {one.started}" if one.alive else f"DEAD, see {one.log}")
        for one in facts.services
    ]
    if not facts.services:
        lines.append(
            f"Prefect  {facts.prefect} (elsewhere)" if facts.prefect else "nothing is up here"
        )
    names = {one.name for one in facts.services}
    for one in facts.workers:
        if one.online or WORKER not in names:
            state = "online" if one.online else "offline"
            lines.append(f"worker   {one.name}: {state}, last seen {one.last_heartbeat} UTC")
    if facts.gpu:
        lines.append(f"GPU slot {facts.gpu['taken']} of {facts.gpu['slots']} taken")
    for title, runs in (("runs now", facts.going), ("last runs", facts.last)):
        lines += [f"{title}:"] * bool(runs)
        lines += [
            f"  {run.start or '–':<20}{run.state:<11}{run.name}"
            + (f"  {run.seconds:g} s" if run.seconds is not None else "")
            for run in runs
        ]
    if facts.late:
        lines.append(f"{facts.late} runs are late")
    lines += ["next runs:"] * bool(facts.next)
    lines += [
        f"  {one.next_run or 'not planned':<22}{one.deployment}  {', '.join(one.schedules)}"
        for one in facts.next
    ]
    for recipe in facts.recipes:
        lines.append(f"recipe   {recipe.recipe}: {recipe.status or 'never run here'}")
    disk = facts.disk
    quota = f" of {disk.quota / 1e9:g} GB" if disk.quota is not None else ", no quota"
    parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in disk.used.items() if size)
    lines.append(f"disk     {disk.total / 1e9:.2f} GB{quota} ({parts or 'nothing yet'}), "
                 f"{disk.free / 1e9:.1f} GB free")  # fmt: skip
    return [*lines, *(f"! {fault}" for fault in facts.faults)]
