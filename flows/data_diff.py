"""What is different between two versions of a recipe's data set."""

import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from components.contracts.artefacts import MANIFEST, read_manifest
from components.contracts.errors import ArtefactError, RecipeError
from components.contracts.kinds import Dataset
from flows.data_log import LOCK, locked_hash
from flows.data_show import open_dataset
from flows.environment import prepare
from flows.recipe import recipe_file

SPLITS = ("train", "validation", "test")
EXAMPLES = 5
SHOWN = 160
"""Characters of a text that an example holds."""

PROFILE = "profile.json"
ANSWER = ["answer", "rejected", "references"]
CONTENT = [*ANSWER, "messages"]
READ = ["source", "row", "text", "messages", "answer", "target", "rejected"]


class UnknownRevisionError(RecipeError):
    """Git knows no such revision."""


class NoDataError(RecipeError):
    """A revision has no data set of a recipe."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Change(_Frozen):
    """One row that is different. What it was not or is not, is None."""

    text: str
    place: str
    split_before: str | None = None
    split_after: str | None = None
    answer_before: str | None = None
    answer_after: str | None = None


class Changes(_Frozen):
    """Rows of one kind of difference: by split (moved ones by `from → to`), the first few named."""

    count: int
    by_split: dict[str, int]
    examples: list[Change]


class DataDiff(_Frozen):
    """The difference of two data sets; rows are told apart by their text.

    `added` and `removed` by text; `changed` have another answer, label, rejected answer or
    references; `moved` the same of these and another split. `reworded` counts rows whose prompt
    alone is another, as after a change of the recipe's `format`. `quarantined_*` count rows by
    expectation. `drift` are the figures of `components.validation.detect.drift.compare`, from `old`
    to `new`.
    """

    recipe: str
    old: str
    new: str | None
    same: bool
    rows_before: dict[str, int]
    rows_after: dict[str, int]
    added: Changes
    removed: Changes
    changed: Changes
    moved: Changes
    reworded: int
    quarantined_before: dict[str, int]
    quarantined_after: dict[str, int]
    labels_before: dict[str, float]
    labels_after: dict[str, float]
    drift: dict[str, float]


def diff(root: Path, recipe: str, old: str, new: str | None = None) -> DataDiff:
    """Compare a recipe's data set at git revision `old` with that at `new` (None: here, now).

    Rows come from the working copy, the cache or the remote. Raises `UnknownRevisionError`,
    `NoDataError` where a revision has no data of this recipe, `ArtefactError` if it cannot be had.
    """
    prepare(root)
    recipe_file(root, recipe)
    with tempfile.TemporaryDirectory() as folder:
        before = _at(root, recipe, old, Path(folder) / "old")
        after = (
            open_dataset(root, recipe)
            if new is None
            else _at(root, recipe, new, Path(folder) / "new")
        )
        return between(recipe, (old, before), (new, after))


def _at(root: Path, recipe: str, revision: str, folder: Path) -> Dataset:
    """Bring what is compared of the data set of a revision to `folder`."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import RevError
    from dvc_data.index import DataIndexDirError

    place = f"data/{recipe}/dataset"
    folder.mkdir()
    try:
        with closing(DVCFileSystem(str(root), rev=revision, config=_remotes(root))) as fs:
            _need(fs, place, revision, recipe)
            fs.get_file(f"{place}/{MANIFEST}", str(folder / MANIFEST))
            manifest = read_manifest(folder)
            wanted = {PROFILE, *(f"{split}.parquet" for split in SPLITS)}
            for name in sorted(manifest["files"].keys() & wanted):
                fs.get_file(f"{place}/{name}", str(folder / name))
    except RevError as error:
        raise UnknownRevisionError(
            f"git knows no revision '{revision}'",
            fix=f"`tuneline data log {recipe}` lists those that changed the data",
        ) from error
    except (DvcException, DataIndexDirError, OSError) as error:
        raise ArtefactError(
            f"the data of '{recipe}' at {revision} is neither in the cache nor on a remote: "
            f"{error}",
            fix="bring it with `dvc pull` (this version) or `dvc fetch --all-commits` (all), from "
            "a remote that somebody has pushed it to",
        ) from error
    return Dataset(folder, manifest["facts"], manifest["files"])


def _remotes(root: Path) -> dict[str, Any]:
    """Return the remotes as they are set up now: at an old revision there may have been none."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        config = repo.config
        core = {name: config["core"][name] for name in ("remote",) if name in config["core"]}
        return {"core": core, "remote": dict(config["remote"])}


def _need(fs: Any, place: str, revision: str, recipe: str) -> None:
    """Raise `RecipeError` unless the revision's dvc.lock has the data set."""
    try:
        lock = fs.read_text(LOCK, encoding="utf-8")
    except FileNotFoundError:
        lock = ""
    if not locked_hash(lock, place):
        raise NoDataError(
            f"revision {revision} has no data set of recipe '{recipe}'",
            fix=f"`tuneline data log {recipe}` lists the revisions that have",
        )


def between(recipe: str, old: tuple[str, Dataset], new: tuple[str | None, Dataset]) -> DataDiff:
    """Compare two data sets that are here, each with the name that the result gives it."""
    from components.validation.detect.drift import compare

    before, after = _rows(old[1]), _rows(new[1])
    kept, gone, come = _matched(before, after, ["text", *CONTENT])
    reworded, gone, come = _matched(gone, come, ["text", *ANSWER])
    changed, gone, come = _matched(gone, come, ["text"])
    moved = [pairs[pairs["split_old"] != pairs["split_new"]] for pairs in (kept, reworded)]
    return DataDiff(
        recipe=recipe,
        old=old[0],
        new=new[0],
        same=old[1].digest == new[1].digest,
        rows_before=_by_split(before["split"]),
        rows_after=_by_split(after["split"]),
        added=_changes(come, "new"),
        removed=_changes(gone, "old"),
        changed=_changes(changed, "both"),
        moved=_changes(_joined(moved), "moved"),
        reworded=len(reworded),
        quarantined_before=old[1].facts.get("quarantined", {}),
        quarantined_after=new[1].facts.get("quarantined", {}),
        labels_before=_labels(before),
        labels_after=_labels(after),
        drift=compare(_profile(old[1], before), _profile(new[1], after)),
    )


def _rows(dataset: Dataset) -> Any:
    """Return the rows of all splits with the column `split`; references as one text."""
    import pandas as pd
    import pyarrow.parquet as pq

    frames = []
    for split in SPLITS:
        table = pq.read_table(dataset.split(split))
        frame = table.select([name for name in READ if name in table.column_names]).to_pandas()
        if "references" in table.column_names:
            lists = table["references"].to_pylist()
            frame["references"] = ["\x1e".join(each or ()) for each in lists]
        else:  # written before there were more answers than one
            frame = frame.assign(references=frame["answer"], rejected="")
        frames.append(frame.assign(split=split))
    return pd.concat(frames, ignore_index=True)


def _matched(old: Any, new: Any, keys: list[str]) -> tuple[Any, Any, Any]:
    """Pair rows that are equal in `keys`, one to one; return the pairs and the rest of both.

    The columns of a pair end in `_old` and `_new`.
    """
    both = []
    for rows, end in ((old, "_old"), (new, "_new")):
        key = rows[keys].assign(nth=rows.groupby(keys, sort=False).cumcount())
        both.append(key.assign(**{f"at{end}": rows.index}))
    at = both[0].merge(both[1], on=[*keys, "nth"])
    pairs = old.loc[at["at_old"]].add_suffix("_old").reset_index(drop=True)
    right = new.loc[at["at_new"]].add_suffix("_new").reset_index(drop=True)
    return pairs.join(right), old.drop(at["at_old"]), new.drop(at["at_new"])


def _joined(frames: list[Any]) -> Any:
    import pandas as pd

    return pd.concat(frames, ignore_index=True)


def _changes(rows: Any, kind: str) -> Changes:
    """Return how many rows there are, in which splits, and the first of them."""
    if kind in ("old", "new"):
        rows = rows.add_suffix(f"_{kind}")
    side = "old" if kind == "old" else "new"
    splits = rows[f"split_{side}"]
    if kind == "moved":
        splits = rows["split_old"] + " → " + rows["split_new"]
    first = rows.head(EXAMPLES).to_dict("records")
    return Changes(
        count=len(rows),
        by_split=_by_split(splits),
        examples=[_change(one, side) for one in first],
    )


def _change(row: dict[str, Any], side: str) -> Change:
    return Change(
        text=_short(row[f"text_{side}"]),
        place=f"{row[f'source_{side}']}:{row[f'row_{side}']}",
        split_before=row.get("split_old"),
        split_after=row.get("split_new"),
        answer_before=_short(row.get("answer_old")),
        answer_after=_short(row.get("answer_new")),
    )


def _short(text: Any) -> Any:
    return text if text is None or len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _by_split(splits: Any) -> dict[str, int]:
    counts = splits.value_counts().to_dict()
    named = [name for name in SPLITS if name in counts]
    return {name: int(counts[name]) for name in [*named, *sorted(counts.keys() - set(named))]}


def _labels(rows: Any) -> dict[str, float]:
    """Return the share of each label among the rows that have one."""
    labels = rows.loc[rows["target"] >= 0, "answer"]
    shares = labels.value_counts(normalize=True).to_dict()
    return {name: round(float(shares[name]), 6) for name in sorted(shares)}


def _profile(dataset: Dataset, rows: Any) -> dict[str, Any]:
    """Return the profile that was written with a data set; an older line wrote none."""
    from components.validation.detect.drift import profile

    if PROFILE in dataset.files:
        return dict(json.loads((dataset.path / PROFILE).read_text(encoding="utf-8")))
    labels = rows["answer"].where(rows["target"] >= 0, None).tolist()
    return profile(rows["text"].tolist(), labels)
