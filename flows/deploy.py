"""`tuneline deploy`: every deployment of prefect.yaml on the running Prefect server."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.contracts.errors import ArtefactError, RecipeError

FILE = "prefect.yaml"
SCHEDULER_S = 15
"""The server looks every few seconds for what is to be scheduled."""


@dataclass(frozen=True)
class Deployed:
    """A deployment as the server has it. `next_run` is in UTC, None without a schedule."""

    name: str
    schedules: tuple[str, ...]
    next_run: str | None

    def told(self) -> str:
        when = ", ".join(self.schedules) or "no schedule"
        return f"{self.name}: {when}" + (f"; next run {self.next_run}" if self.next_run else "")


def deploy(root: Path) -> tuple[list[Deployed], list[str]]:
    """Create or update all deployments; return them, and the names that no file has any more.

    And the automations that go with them: new rows start a tick, and a flow whose heart stands still
    is said to have crashed.

    Raises:
        ArtefactError: no server runs.
        RecipeError: prefect.yaml is missing or Prefect refuses what stands in it.
    """
    api = need_server()
    wanted = wanted_in(root)
    from prefect.client.orchestration import get_client

    from flows.heartbeat import watch_heartbeats
    from flows.retrain_events import automate
    from flows.server import make_ready
    from flows.up import GPU, POOL

    pools = {str(one.get("work_pool", {}).get("name", POOL)) for one in wanted}
    list(make_ready(POOL, GPU, None))  # of what kind another pool is, prefect.yaml does not say
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=root,
        env={**os.environ, "PREFECT_API_URL": api},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise RecipeError(f"Prefect refuses {FILE}:\n  " + "\n  ".join(last), fix=f"mend {FILE}")
    automate()
    with get_client(sync_client=True) as client:
        watch_heartbeats(client)
    names = {str(one["name"]) for one in wanted}
    return wait_for_schedules(names), sorted(others(names, pools))


def need_server() -> str:
    """Return the address of the Prefect server; raise `ArtefactError` if none is known."""
    api = os.environ.get("PREFECT_API_URL")
    if not api:
        raise ArtefactError(
            "no Prefect server runs for this project", fix="tuneline up, or set PREFECT_API_URL"
        )
    return api


def wanted_in(root: Path) -> list[dict[str, Any]]:
    """Return what stands under `deployments` in prefect.yaml."""
    file = root / FILE
    if not file.is_file():
        raise RecipeError(f"there is no {FILE} in {root}", fix="take it from the repository")
    try:
        found = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("deployments") or []
    except yaml.YAMLError as error:
        raise RecipeError(f"{FILE}: not valid YAML: {error}", fix=f"mend {FILE}") from error
    if not found:
        raise RecipeError(f"{FILE} has no deployments", fix="write some under `deployments`")
    return list(found)


def wait_for_schedules(names: set[str]) -> list[Deployed]:
    """Return the deployments, as soon as the server has planned a run of each that is scheduled."""
    end = time.monotonic() + SCHEDULER_S
    while True:
        found = [one for one in deployments() if one.name.partition("/")[2] in names]
        waiting = [one for one in found if one.schedules and one.next_run is None]
        if not waiting or time.monotonic() > end:
            return found
        time.sleep(0.5)


def others(names: set[str], pools: set[str]) -> Iterator[str]:
    """Yield deployments on the same pools that prefect.yaml does not name."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for one in client.read_deployments():
            if one.work_pool_name in pools and one.name not in names:
                yield one.name


def deployments() -> list[Deployed]:
    """Return all deployments of the server, in order of name."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        flows: dict[Any, str] = {}
        found = []
        for one in client.read_deployments():
            if one.flow_id not in flows:
                flows[one.flow_id] = client.read_flow(one.flow_id).name
            schedules = tuple(words(s.schedule) for s in one.schedules if s.active)
            paused = () if one.paused else schedules
            name = f"{flows[one.flow_id]}/{one.name}"
            found.append(Deployed(name, paused, next_run(client, one.id) if paused else None))
    return sorted(found, key=lambda one: one.name)


def next_run(client: Any, deployment: Any) -> str | None:
    """Return when the next planned run of a deployment begins, in UTC."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
    from prefect.client.schemas.sorting import FlowRunSort

    from flows.server import in_state

    found = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        flow_run_filter=in_state("SCHEDULED"),
        sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        limit=1,
    )
    return f"{found[0].expected_start_time:%Y-%m-%d %H:%M} UTC" if found else None


def words(schedule: Any) -> str:
    """Return a schedule in words: its cron line, its interval or its rule, and where it counts."""
    zone = getattr(schedule, "timezone", None)
    if hasattr(schedule, "cron"):
        told = f"cron {schedule.cron}"
    elif hasattr(schedule, "interval"):
        told, zone = f"every {schedule.interval}", None
    else:
        told = f"rule {schedule.rrule}"
    return f"{told} ({zone})" if zone else told
