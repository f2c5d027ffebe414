"""What holds for the whole project: `operation` in params.yaml, and the bytes it takes."""

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from components.contracts.errors import RecipeError, SpaceError
from components.contracts.settings import Settings

PLACES = {
    "DVC cache": ".dvc/cache",
    "data": "data",
    "MLflow": "mlflow",
    "scratch": ".tuneline",
}


class ProjectSettings(Settings):
    """How this project is run, whatever the recipe.

    `disk_quota_gb` is what the project may take on disk (10⁹ bytes a GB); no run starts beyond it.
    `keep_runs` of each recipe keep all their files in `tuneline gc`. `alerts` are Prefect blocks
    (`slack-webhook/ops`, `tuneline-email/ops`) that are told of failures, blocked verdicts and
    drift.
    """

    disk_quota_gb: float | None = Field(default=None, gt=0)
    keep_runs: int = Field(default=10, ge=1)
    alerts: tuple[str, ...] = ()


def project_settings(root: Path) -> ProjectSettings:
    """Read `operation` of params.yaml; without it all defaults. Raises `RecipeError`."""
    found: Any = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")) or {}
    try:
        return ProjectSettings.model_validate(found.get("operation") or {})
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise RecipeError(
            f"params.yaml: operation: {faults}",
            fix=f"allowed keys: {', '.join(ProjectSettings.model_fields)}",
        ) from error


def disk_use(root: Path) -> dict[str, int]:
    """Return the bytes on disk of each place; a file linked twice counts once, where met first."""
    seen: set[tuple[int, int]] = set()
    return {name: _bytes_below(root / place, seen) for name, place in PLACES.items()}


def _bytes_below(folder: Path, seen: set[tuple[int, int]]) -> int:
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                found = os.lstat(f"{place}/{name}")
            except FileNotFoundError:  # a run deletes its own scratch while we look
                continue
            key = (found.st_dev, found.st_ino)
            if key not in seen:
                seen.add(key)
                total += found.st_blocks * 512
    return total


def need_quota(root: Path) -> None:
    """Raise `SpaceError` if the project takes as much disk as it may, or more."""
    quota = project_settings(root).disk_quota_gb
    if quota is None:
        return
    used = disk_use(root)
    total = sum(used.values())
    if total >= quota * 1e9:
        parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in used.items())
        raise SpaceError(
            f"the project takes {total / 1e9:.2f} GB of the {quota:g} GB that operation."
            f"disk_quota_gb in params.yaml allows ({parts})",
            fix="tuneline gc --dry-run shows what can go; or raise the quota",
        )
