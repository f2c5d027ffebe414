"""Reads the one graph, dvc.yaml, through DVC's own index."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from components.contracts.errors import RecipeError
from components.contracts.settings import Settings


class Options(Settings):
    """What stands under a stage's `meta`: how Prefect runs it. DVC does not look at it.

    `grace_s` is the time between asking a stage to end (SIGTERM) and killing it: a training uses it
    to finish its step and write a checkpoint. Keep it under a spot machine's notice.
    """

    gpu: bool = False
    retries: int = Field(0, ge=0)
    retry_delay_s: float = Field(10, ge=0)
    timeout_s: float | None = Field(None, gt=0)
    grace_s: float = Field(20, ge=0)


@dataclass(frozen=True)
class Stage:
    """A stage of one recipe. `upstream` are the names of the stages it reads from."""

    name: str
    recipe: str
    upstream: tuple[str, ...]
    options: Options

    @property
    def address(self) -> str:
        """How DVC calls it."""
        return f"{self.name}@{self.recipe}"


def read_graph(root: Path, recipe: str) -> list[Stage]:
    """Return the stages of a recipe, each after those it reads from.

    Raises `RecipeError` if dvc.yaml has no stage for the recipe or wrong options under `meta`.
    """
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return _stages(repo, recipe)


def changed_stages(root: Path, recipe: str) -> dict[str, Any]:
    """Return the stages of a recipe that are not up to date, with what DVC says of each."""
    with _alone(root) as repo:
        return _changed(repo, recipe)


def read_line(root: Path, recipe: str) -> tuple[list[Stage], dict[str, Any]]:
    """Return the stages of a recipe and those that are not up to date, at the cost of one.

    Raises as `read_graph` does.
    """
    with _alone(root) as repo:
        return _stages(repo, recipe), _changed(repo, recipe)


@contextmanager
def _alone(root: Path) -> Iterator[Any]:
    """Hold DVC's lock within the block, so that what is read is whole, and read once."""
    from dvc.repo import Repo, lock_repo

    with Repo(str(root)) as repo, lock_repo(repo):
        yield repo


def _stages(repo: Any, recipe: str) -> list[Stage]:
    import networkx as nx

    graph = repo.index.graph
    order = [s for s in nx.dfs_postorder_nodes(graph) if s.cmd and _of(s.addressing, recipe)]
    if not order:
        raise RecipeError(
            f"dvc.yaml has no stage for recipe '{recipe}'",
            fix='every stage needs `matrix: {recipe: "${recipes}"}` and the recipe in params.yaml',
        )
    return [_stage(s, [u for u in graph.successors(s) if u in order], recipe) for s in order]


def _changed(repo: Any, recipe: str) -> dict[str, Any]:
    # `repo.status(targets=…)` says the same, and parses dvc.yaml once for each target.
    mine = [s for s in repo.index.stages if s.cmd and _of(s.addressing, recipe)]
    found = (stage.status(check_updates=True) for stage in mine)
    return {_name(address): what for one in found for address, what in one.items()}


def _stage(stage: Any, upstream: list[Any], recipe: str) -> Stage:
    name = _name(stage.addressing)
    try:
        options = Options.model_validate(stage.meta or {})
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        raise RecipeError(
            f"dvc.yaml: {name}: meta: {faults}",
            fix=f"allowed keys: {', '.join(Options.model_fields)}",
        ) from error
    return Stage(name, recipe, tuple(sorted(_name(u.addressing) for u in upstream)), options)


def _of(address: str, recipe: str) -> bool:
    return address.partition("@")[2] == recipe


def _name(address: str) -> str:
    """Return `train` of `train@recipe`; from elsewhere it reads `PATH/dvc.yaml:train@recipe`."""
    return address.rpartition(":")[2].partition("@")[0]
