"""How a flow run names the MLflow run, the commit and DVC's hashes that belong to it."""

from pathlib import Path

from flows.locked import locked_hashes
from flows.record import read_record
from flows.steps import STEPS


def identity(root: Path, recipe: str, run: str) -> list[str]:
    """Return the tags by which Prefect names recipe, MLflow run and git commit."""
    record = read_record(root, recipe)
    commit = record.git.commit if record else None
    return [f"recipe:{recipe}", f"mlflow:{run}", *([f"git:{commit}"] if commit else [])]


def lineage_table(root: Path, recipe: str) -> list[dict[str, str]]:
    """Return a row for each stage: how it went, DVC's hash of its output, the run that made it."""
    record, locked = read_record(root, recipe), locked_hashes(root, recipe)
    if record is None:
        return []
    return [
        {
            "stage": name,
            "outcome": stage.outcome,
            "artefact": STEPS[name].output,
            "dvc": locked.get(name, ""),
            "made by": stage.made_by or str(record.mlflow_run_id),
        }
        for name, stage in record.stages.items()
    ]
