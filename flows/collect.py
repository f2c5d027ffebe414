"""`tuneline gc`: takes away what no registered version, recipe on the line or recent run needs."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from flows.collect_cache import (
    CacheWaste,
    cache_waste,
    drop_objects,
    hashes_at,
    hashes_here,
    hashes_of_inputs,
)
from flows.collect_runs import Kept, RunWaste, drop_runs, kept_in_store, run_waste
from flows.project import project_settings
from flows.recipe import listed
from flows.turn import turn


@dataclass(frozen=True)
class Collected:
    """What can go or went."""

    cache: list[CacheWaste]
    runs: list[RunWaste]

    @property
    def total(self) -> int:
        return sum(one.bytes for one in self.cache) + sum(one.bytes for one in self.runs)


def collect(
    root: Path, *, keep_runs: int | None, dry_run: bool, say: Callable[[str], object]
) -> Collected:
    """Find what nobody needs and, unless it is a dry run, delete it.

    Kept are, in DVC's cache: what dvc.lock names here, for the recipes on the line, and at HEAD;
    what the registered versions and the last runs were made of and made, by their locks and tags in
    MLflow; and all rows that a .dvc file of any commit names, as nothing can make them again. In
    MLflow: all files of versions' runs, of the last `keep_runs` runs of each recipe, and of runs
    under way. Parameters, metrics and tags stay for ever. Remotes are not touched. Waits for the
    runs of this project, and holds DVC off while it deletes.

    Raises:
        CollectError: the cache is shared with other projects.
        MlflowException, OSError: the store does not answer; then nothing is deleted.
    """
    from flows.collect_cache import hold

    count = keep_runs or project_settings(root).keep_runs
    with ExitStack() as stack:
        for recipe in sorted(listed(root)):
            stack.enter_context(turn(root, recipe, say))
        cache = stack.enter_context(hold(root))
        kept = kept_in_store(root, count)
        waste = cache_waste(cache, _needed(root, kept))
        runs = run_waste(root, kept)
        if not dry_run:
            drop_runs(runs)
            drop_objects(cache, waste)
    return Collected(waste, runs)


def _needed(root: Path, kept: Kept) -> set[str]:
    here = hashes_here(root, listed(root)) | hashes_at(root, "HEAD")
    return kept.hashes | here | hashes_of_inputs(root)
