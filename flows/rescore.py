"""The champion on held-out rows of now, in a process of its own: `python -m flows.rescore`."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from components.contracts.errors import ArtefactError, DataError, TunelineError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Champion, Dataset, Tokens
from components.retraining.facts import Rescored
from flows.child import LAST_LINES, Tell, run_lines
from flows.environment import prepare, scratch_folder
from flows.progress import listener
from flows.recipe import load_recipe
from flows.record import read_record

RESULT = "rescored.json"


def rescore_now(root: Path, recipe: str, known: str | None, tell: Tell) -> Rescored:
    """Tokenise the rows of now through DVC and score the champion on them, model and all elsewhere.

    `known` is DVC's hash of the data set that the champion was judged on. Raises `DataError` with
    what was said last if it cannot be done.
    """
    result = scratch_folder(root, recipe) / RESULT
    result.parent.mkdir(parents=True, exist_ok=True)
    result.unlink(missing_ok=True)
    dvc = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", f"tokenize@{recipe}"]
    _run(dvc, root, recipe, tell)
    _run([sys.executable, "-m", "flows.rescore", recipe, known or "none"], root, recipe, tell)
    return Rescored.model_validate_json(result.read_text(encoding="utf-8"))


def _run(command: list[str], root: Path, recipe: str, tell: Tell) -> None:
    """Run a command; raise `DataError` with the words of the stage that failed, if it left some."""
    ended = run_lines(command, root, dict(os.environ), None, tell)
    if ended.code == 0:
        return
    run = read_record(root, recipe)
    told = [f"{name}: {fault.message}" for name, fault in run.faults.items()] if run else []
    said = [one for one in told if one.splitlines()[0] in ended.lines] or ended.lines[-LAST_LINES:]
    raise DataError("the champion was not scored: " + "\n".join(said))


def main(words: list[str] | None = None) -> int:
    """Score and write the result for `rescore_now`; return the exit code."""
    recipe, known = sys.argv[1:] if words is None else words
    root = Path.cwd()
    prepare(root)
    try:
        found = score(root, recipe, None if known == "none" else known)
    except TunelineError as error:
        print(f"rescore: {error}", file=sys.stderr)
        return error.exit_code
    result = scratch_folder(root, recipe) / RESULT
    result.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def score(root: Path, recipe: str, known: str | None) -> dict[str, dict[str, Any]]:
    """Return the champion's figures on held-out rows that it was judged on, and on fresh ones."""
    from components.verification.rescore import rescore
    from flows.champion import bring
    from flows.store import champion_version

    settings = load_recipe(root, recipe)
    version = champion_version(settings.registry.name)
    if version is None:
        raise ArtefactError(f"{settings.registry.name} has no champion to score")
    data, asked = root / "data" / recipe, settings.evaluation
    context = Context(root, scratch_folder(root, recipe), listener(sys.stdout))
    with tempfile.TemporaryDirectory() as made:
        with Champion.write(Path(made) / "champion") as draft:
            draft.facts = {"there": True, **bring(version, draft.folder)}
        return rescore(
            Champion.open(Path(made) / "champion"),
            BaseModelFolder.open(data / "base"),
            Dataset.open(data / "dataset"),
            Tokens.open(data / "tokens"),
            judged_on(root, known, asked.split),
            context,
            split=asked.split,
            limit=asked.max_samples,
            texts=asked.max_text_samples,
        )


def judged_on(root: Path, dataset: str | None, split: str) -> frozenset[str]:
    """Return the ids of the held-out rows of an earlier data set (DVC's hash); none if unknown."""
    import pyarrow.parquet as pq

    from flows.data_version import bring

    file = f"{split}.parquet"
    with tempfile.TemporaryDirectory() as made:
        if dataset is None or not bring(root, dataset, Path(made), file.__eq__):
            return frozenset()
        return frozenset(pq.read_table(Path(made) / file, columns=["id"])["id"].to_pylist())


if __name__ == "__main__":
    sys.exit(main())
