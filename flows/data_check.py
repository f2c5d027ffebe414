"""The daily data check: rows are brought and validated, nothing is trained."""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.alerts import Alert, drifted, on_failed, send
from flows.environment import find_root, prepare
from flows.parameters import RecipeName
from flows.project import need_quota
from flows.turn import turn


@flow(
    name="data-check",
    flow_run_name="{recipe}",
    persist_result=False,
    on_failure=[on_failed],
    on_crashed=[on_failed],
)
def data_check(recipe: RecipeName) -> State[Any]:
    """Bring and check the rows of a recipe; tell what changed and what drifted. Trains nothing.

    Ends as Unchanged, Changed or Drifted. What it validates is not validated again by the next run
    of the line.

    Raises:
        DataError: the rows are not fit to train on, in the words of the stage that found it.
    """
    from flows.data_add import validate_now

    root = find_root(Path.cwd())
    prepare(root)
    need_quota(root)
    logger = get_run_logger()
    with turn(root, recipe, logger.info):
        before = facts_of(root, recipe)
        dataset = validate_now(root, recipe, logger.info)
        after = dict(dataset.facts)
    beyond = drifted(root, recipe) if after != before else None
    name = "Drifted" if beyond else "Unchanged" if after == before else "Changed"
    lines = compared(before, after) + ([beyond] if beyond else [])
    create_markdown_artifact(
        "\n".join(f"- {line}" for line in lines),
        key=f"data-check-{recipe}".replace("_", "-"),
        description=f"rows of {recipe}: {name.lower()}",
    )
    if beyond:
        send(root, Alert("drifted", recipe, beyond, str(flow_run.id)), logger.warning)
    return Completed(name=name, message="; ".join(lines))


def facts_of(root: Path, recipe: str) -> dict[str, Any] | None:
    """Return the facts of the checked rows that lie here, None before the first check."""
    from components.contracts.artefacts import MANIFEST, read_manifest

    folder = root / "data" / recipe / "dataset"
    return dict(read_manifest(folder)["facts"]) if (folder / MANIFEST).is_file() else None


def compared(before: dict[str, Any] | None, after: dict[str, Any]) -> list[str]:
    """Return counts then and now, in words."""
    told = []
    for name, now in after["rows"].items():
        then = before["rows"].get(name) if before else None
        told.append(f"rows {name}: {now:,}" + ("" if then in (None, now) else f" (was {then:,})"))
    now_labels, then_labels = (shares(facts) for facts in (after, before or {}))
    for label, share in now_labels.items():
        then = then_labels.get(label)
        moved = "" if then is None or f"{then:.1%}" == f"{share:.1%}" else f" (was {then:.1%})"
        told.append(f"label {label}: {share:.1%}{moved}")
    return told


def shares(facts: dict[str, Any]) -> dict[str, float]:
    """Return the share of each label over all splits."""
    counts: dict[str, int] = {}
    for split in (facts.get("labels") or {}).values():
        for name, count in split.items():
            counts[name] = counts.get(name, 0) + count
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}
