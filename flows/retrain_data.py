"""The rows of now against those that the champion saw, by the facts of their validation."""

import os
import sys
import tempfile
from pathlib import Path

from components.contracts.artefacts import MANIFEST, read_manifest
from components.contracts.errors import DataError
from components.contracts.kinds import Dataset
from components.retraining.facts import DataFacts
from flows.child import LAST_LINES, Tell, run_lines
from flows.data_accept import accept, to_accept_first
from flows.data_add import validate_now
from flows.data_diff import PROFILE, SPLITS, DataDiff, between
from flows.data_version import bring
from flows.graph import changed_stages

SHOWN = ("psi_length", "psi_label", "psi_vocabulary")
"""The figures of drift that the recipe bounds by `max_drift`."""

COMPARED = {MANIFEST, PROFILE, *(f"{split}.parquet" for split in SPLITS)}


def checked_now(root: Path, recipe: str, tell: Tell, *, ingest: bool = False) -> Dataset:
    """Return the recipe's data set, brought up to date; `ingest` even where DVC sees no change.

    What models were tested on is accepted first, so that its test rows stay out of training.
    Raises `DataError` with the stage's own message if the rows are not fit.
    """
    changed = changed_stages(root, recipe)
    if to_accept_first(root, recipe, changed) is not None:
        accept(root, recipe)
        tell(f"the data so far is remembered in data/accepted/{recipe}")
    if ingest:
        _ingest(root, recipe, tell)
    if ingest or {"ingest", "validate"} & changed.keys():
        return validate_now(root, recipe, tell)
    return Dataset.open(root / "data" / recipe / "dataset")


def compared(root: Path, recipe: str, champion: str | None, now: str | None) -> DataFacts:
    """Return what came and went since the data set `champion` (DVC's hash; None: not known).

    `now` is DVC's hash of the data set that lies here.
    """
    dataset = Dataset.open(root / "data" / recipe / "dataset")
    rows = sum(dataset.facts["splits"].values())
    if champion is not None and champion == now:
        return DataFacts(rows=rows, new_rows=0, gone_rows=0)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "dataset"
        if champion is None or not bring(root, champion, folder, COMPARED.__contains__):
            return DataFacts(rows=rows, new_rows=rows, gone_rows=0, known=False)
        manifest = read_manifest(folder)
        before = Dataset(folder, manifest["facts"], manifest["files"])
        return facts_of(between(recipe, ("champion", before), (None, dataset)), rows)


def facts_of(diff: DataDiff, rows: int) -> DataFacts:
    """Return what a tick wants to know of a difference. A row with another label is a new one."""
    shares = [
        abs(diff.labels_after.get(name, 0.0) - diff.labels_before.get(name, 0.0))
        for name in {*diff.labels_before, *diff.labels_after}
    ]
    return DataFacts(
        rows=rows,
        new_rows=diff.added.count + diff.changed.count,
        gone_rows=diff.removed.count + diff.changed.count,
        drift={name: round(diff.drift[name], 6) for name in SHOWN},
        label_shift=round(max(shares), 6) if shares else None,
    )


def _ingest(root: Path, recipe: str, tell: Tell) -> None:
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", "--force"]
    ended = run_lines([*command, f"ingest@{recipe}"], root, dict(os.environ), None, tell)
    if ended.code != 0:
        raise DataError("\n".join(ended.lines[-LAST_LINES:]))
