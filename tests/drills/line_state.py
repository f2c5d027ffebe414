"""Prints what a drill compares, as JSON: `python line_state.py ROOT`, in the project's environment.

Times, ids and the outcomes of stages (made, or taken from before) are left out: they may differ.
"""

import hashlib
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from flows.environment import prepare
from flows.locked import locked_hashes
from flows.record import read_record

NAME = "drilled"
MAY_DIFFER = (".seconds", ".peak_rss_mb")


def main(root: Path) -> dict[str, Any]:
    os.chdir(root)
    prepare(root)
    record = read_record(root, "toy")
    assert record is not None
    return {
        "artefacts": manifests(root),
        "dvc": locked_hashes(root, "toy"),
        "record": {"status": record.status, "faults": record.faults, "door": record.door},
        "stages": sorted(record.stages),
        **tracked(record.mlflow_run_id),
        **registry(),
        **prefect(record),
    }


def manifests(root: Path) -> dict[str, str]:
    files = sorted((root / "data" / "toy").glob("*/manifest.json"))
    return {f.parent.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def tracked(mine: str | None) -> dict[str, Any]:
    """Return the runs of the experiment, and of the record's own all points of all metrics."""
    from flows.store import client

    store = client()
    experiment = store.get_experiment_by_name("toy")
    runs = store.search_runs([experiment.experiment_id])
    run = store.get_run(mine)
    points = {}
    for name in sorted(run.data.metrics):
        history = store.get_metric_history(mine, name)
        told = [(p.step, round(p.value, 9)) for p in sorted(history, key=lambda p: p.step)]
        points[name] = len(told) if name.endswith(MAY_DIFFER) else told
    hashes = {k: v for k, v in run.data.tags.items() if k.startswith("dvc.")}
    return {
        "runs": sorted(Counter(one.info.status for one in runs).items()),
        "points": points,
        "tags": hashes | {"git": len(run.data.tags["git.commit"])},
        "params": len(run.data.params),
        "inputs": sorted(one.dataset.name for one in run.inputs.dataset_inputs),
    }


def registry() -> dict[str, Any]:
    from flows.registry_alias import moves
    from flows.store import client

    store = client()
    names = sorted(model.name for model in store.search_registered_models())
    versions = store.search_model_versions(f"name = '{NAME}'")
    return {
        "registered": names,
        "versions": [(str(v.version), v.status) for v in versions],
        "aliases": aliases(store) if NAME in names else {},
        "moves": [(m.before, m.to, m.why) for m in moves(NAME)] if NAME in names else [],
    }


def aliases(store: Any) -> dict[str, int]:
    found = store.get_registered_model(NAME).aliases  # a database gives numbers, a server words
    return {alias: int(version) for alias, version in found.items()}


def prefect(record: Any) -> dict[str, Any]:
    """Return whether any flow run of this project is open, and how the last one ended."""
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

    ids = [UUID(i) for i in (*record.earlier_flow_run_ids, record.prefect_flow_run_id)]
    with get_client(sync_client=True) as client:
        mine = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"mlflow:{record.mlflow_run_id}"]))
        found = {run.id: run for run in client.read_flow_runs(flow_run_filter=mine)}
        for number in ids:
            found.setdefault(number, client.read_flow_run(number))
        last = found[ids[-1]]
        open_runs = [r.name for r in found.values() if r.state and not r.state.is_final()]
        own_tags = f"mlflow:{record.mlflow_run_id}" in last.tags
    return {"open": open_runs, "ended": str(last.state_name), "named": own_tags}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
