"""Work on batches spread over Ray: any order of work, the order of the file in what comes out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from components.contracts.errors import TunelineError
from flows.environment import ray_address
from flows.steps import Step

Item = TypeVar("Item")
Made = TypeVar("Made")

AHEAD = 2
"""Batches that wait beside each one that is worked on: bounded memory, and no worker idle."""


@contextmanager
def spreading(step: Step) -> Iterator[dict[str, Any]]:
    """Give what a step that can be spread gets besides: nothing, unless `TUNELINE_RAY` is set.

    Where a step is worked on is no setting of a recipe: the artefact is the same.
    """
    with spread_over(ray_address() if step.spreads else None) as spread:
        yield {} if spread is None else {"spread": spread}


@contextmanager
def spread_over(address: str | None) -> Iterator["OverRay | None"]:
    """Give what spreads work over the Ray cluster at `address` ("local": one here), or None.

    Raises `RecipeError` where Ray is not installed.
    """
    if address is None:
        yield None
        return
    from flows.sweep_workers import need_ray, ray_cluster

    need_ray()
    with ray_cluster(None if address == "local" else address, None) as ray:
        yield OverRay(ray)


class OverRay:
    """Calls a function for each item on a Ray cluster."""

    def __init__(self, ray: Any) -> None:
        self.ray = ray

    def __call__(self, function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
        """Yield `function(item)` in the order of `items`, which are read only so far ahead."""
        task = self.ray.remote(num_cpus=1, max_retries=3)(_call)
        shared = self.ray.put(function)
        most = max(1, int(self.ray.cluster_resources().get("CPU", 1))) * (1 + AHEAD)
        running: deque[Any] = deque()
        for item in items:
            running.append(task.remote(shared, item))
            if len(running) >= most:
                yield self._get(running.popleft())
        while running:
            yield self._get(running.popleft())

    def _get(self, reference: Any) -> Any:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            # Raised as what it was there: a fault of the data is told as one.
            if isinstance(error.cause, TunelineError):
                raise error.cause from error
            raise


def _call(function: Callable[[Item], Made], item: Item) -> Made:
    return function(item)
