"""What is remembered of data that was accepted: past test rows by fingerprint, and a profile.

The folder `data/accepted/RECIPE/` holds `holdout.parquet` (a line for every row that ever was in a
test split), `trained.parquet` (the keys of all other accepted rows) and `profile.json` (what drift
is measured against). Validation only reads it; `accept` writes it.

The text of a past test row is kept beside its keys: by a MinHash signature alone 52 of 2,990 tweets
of `recipes/sentiment.yaml` seem to be near copies of a test row, by their texts 8 are.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.contracts.artefacts import write_json
from components.contracts.errors import ArtefactError
from components.contracts.kinds import Dataset
from components.validation.identity import duplicate_key, fingerprint

HOLDOUT, TRAINED, PROFILE = "holdout.parquet", "trained.parquet", "profile.json"
KINDS = ("text", "words")
"""A row is remembered under both kinds of `duplicate_key`: a recipe may change its mind."""


@dataclass(frozen=True)
class Accepted:
    """What earlier runs left: tables as in the files, the profile `None` before the first."""

    holdout: pa.Table
    trained: pa.Table
    profile: dict[str, Any] | None


def holdout_schema() -> pa.Schema:
    """One past test row: its keys, its text, and where it stood."""
    keys = [(f"{kind}_key", pa.uint64()) for kind in KINDS]
    return pa.schema([*keys, ("text", pa.string()), ("place", pa.string())])


def trained_schema() -> pa.Schema:
    """One accepted row that was not in the test split."""
    return pa.schema([("text_key", pa.uint64())])


def read_accepted(folder: Path | None) -> Accepted:
    """Return what `folder` remembers; nothing where it is missing or empty.

    Raises `ArtefactError` for a file that cannot be read, or that DVC keeps and has not brought.
    """
    return Accepted(
        holdout=_table(folder, HOLDOUT, holdout_schema()),
        trained=_table(folder, TRAINED, trained_schema()),
        profile=_profile(folder),
    )


def accept(dataset: Dataset, folder: Path) -> None:
    """Add the rows of `dataset` to what `folder` remembers, and take its profile for drift.

    Each file is replaced at once, so a crash leaves whole files and accepting again mends them.
    """
    before = read_accepted(folder)
    folder.mkdir(parents=True, exist_ok=True)
    test = _rows(dataset, "test")
    keys = [_keys(test, kind) for kind in KINDS]
    holdout = pa.table([*keys, test["text"], _places(test)], schema=holdout_schema())
    others = pa.concat_tables([_rows(dataset, split) for split in ("train", "validation")])
    trained = pa.table([_keys(others, "text")], schema=trained_schema())
    _replace(folder / HOLDOUT, _writer(_united(before.holdout, holdout)))
    _replace(folder / TRAINED, _writer(_united(before.trained, trained)))
    _replace(folder / PROFILE, lambda file: write_json(file, _profile(dataset.path)))


def _keys(rows: pa.Table, kind: str) -> pa.Array:
    texts = rows["text"].to_pylist()
    return pa.array([fingerprint(duplicate_key(text, kind)) for text in texts], pa.uint64())


def _places(rows: pa.Table) -> pa.Array:
    pairs = zip(rows["source"].to_pylist(), rows["row"].to_pylist(), strict=True)
    return pa.array([f"{source}:{row}" for source, row in pairs], pa.string())


def _rows(dataset: Dataset, split: str) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(dataset.split(split), columns=["source", "row", "text"])


def _united(old: pa.Table, new: pa.Table) -> pa.Table:
    """Return both, each text once, in the order of the keys: the same rows give the same bytes."""
    import numpy as np

    both = pa.concat_tables([old, new])
    _, first = np.unique(both["text_key"].to_numpy(), return_index=True)
    return both.take(first)


def _table(folder: Path | None, name: str, schema: pa.Schema) -> pa.Table:
    import pyarrow.parquet as pq

    if folder is None or not _here(folder / name):
        return schema.empty_table()
    try:
        return pq.read_table(folder / name, schema=schema)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(folder / name, error) from error


def _here(file: Path) -> bool:
    """Say whether a file is there; one that DVC keeps must be, or nothing would be guarded."""
    if file.exists():
        return True
    note = file.with_name(f"{file.name}.dvc")
    if note.exists():
        raise ArtefactError(
            f"{file.name} of {file.parent.name} is kept by DVC, but its content is not here",
            fix=f"dvc pull data/accepted/{file.parent.name}/{note.name}",
        )
    return False


def _profile(folder: Path | None) -> dict[str, Any] | None:
    if folder is None or not (folder / PROFILE).exists():
        return None
    try:
        return dict(json.loads((folder / PROFILE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise _unreadable(folder / PROFILE, error) from error


def _unreadable(file: Path, error: Exception) -> ArtefactError:
    return ArtefactError(
        f"{file} cannot be read: {error}",
        fix="bring it back with `dvc checkout` or `git checkout`: it guards the past test rows",
    )


def _writer(table: pa.Table) -> Callable[[Path], None]:
    import pyarrow.parquet as pq

    return lambda file: pq.write_table(table, file)


def _replace(file: Path, write: Callable[[Path], None]) -> None:
    beside = file.with_name(f".{file.name}.tmp")
    write(beside)
    beside.replace(file)
