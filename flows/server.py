"""What a running Prefect server is told and asked: pool, GPU slots, workers, runs."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.exceptions import ObjectNotFound


def make_ready(pool: str, limit: str, slots: int | None) -> Iterator[str]:
    """Create the process pool and the global limit if they are missing; yield what was done.

    A limit that is there is left as it is, unless `slots` are asked for.
    """
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
            yield f"pool    {pool} created"
        there = {one.name: one.limit for one in client.read_global_concurrency_limits()}
        if limit not in there:
            wanted = slots or gpus()
            client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=limit, limit=wanted)
            )
            yield f"limit   {limit}: {wanted} at a time"
        elif slots and slots != there[limit]:
            client.upsert_global_concurrency_limit_by_name(limit, slots)
            yield f"limit   {limit}: {slots} at a time (was {there[limit]})"


def gpus() -> int:
    """Return how many GPUs the driver names, 1 without any: two trainings slow each other."""
    from flows.doctor import nvidia_gpus

    return max(1, len(nvidia_gpus()))


def worker_seen(pool: str, name: str, since: datetime) -> bool:
    """Say whether a worker of that name has reported to the server since then."""
    return any(
        one.name == name and one.last_heartbeat_time and one.last_heartbeat_time >= since
        for one in workers(pool)
    )


def workers(pool: str) -> list[Any]:
    """Return the workers that a pool has ever had; none for a pool that is not there."""
    with get_client(sync_client=True) as client:
        try:
            return list(client.read_workers_for_work_pool(pool))
        except ObjectNotFound:
            return []


def in_state(*kinds: str) -> Any:
    """Return the filter for flow runs whose state is of one of these kinds."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    wanted = [StateType(kind) for kind in kinds]
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=wanted)))


def late() -> Any:
    """Return the filter for flow runs that should have begun and have not."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateName,
    )

    return FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Late"])))
