"""The sheet: which pairs are judged. Made once, and kept in a plain folder with the ratings."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from components.contracts.artefacts import write_json
from components.contracts.errors import DataError
from components.contracts.events import Context
from components.judging.answers import Models, judged_tasks, label_pairs, rows_of, task_pairs
from components.judging.generated import Asking, generated_pairs
from components.judging.line import Line
from components.judging.pairs import Offer, Pair, read_pairs, sample, write_pairs
from components.judging.ratings import Rating, append, read_ratings
from components.judging.result import result

SHEET, PAIRS, RATINGS, RESULT = "sheet.json", "pairs.jsonl", "ratings.jsonl", "result.json"


@dataclass(frozen=True)
class Wish:
    """What is to be judged: `models` are the reference and the model that is held against it.

    `task` is one of the recipe's (`None`: its held-out rows). At most `samples` pairs in which the
    two differ are drawn with `seed`, which also shuffles what is shown first. `max_new_tokens`
    bounds answers that are generated here.
    """

    models: Models
    task: str | None = None
    samples: int = 100
    seed: int = 0
    max_new_tokens: int = 256

    @property
    def name(self) -> str:
        """The folder of the sheet."""
        return "-vs-".join(self.models) + (f".{self.task}" if self.task else "")


@dataclass(frozen=True)
class Sheet:
    """A sheet on disk. `facts`: the wish, what it was made from, items, same answers."""

    folder: Path
    facts: dict[str, Any]
    pairs: list[Pair]

    @property
    def seed(self) -> int:
        return int(self.facts["seed"])

    @property
    def models(self) -> Models:
        reference, model = self.facts["models"]
        return reference, model

    @cached_property
    def by_key(self) -> dict[str, Pair]:
        return {pair.key: pair for pair in self.pairs}

    def ratings(self) -> list[Rating]:
        return read_ratings(self.folder / RATINGS)

    def add(self, ratings: Sequence[Rating]) -> None:
        """Add ratings, on the disk when this returns, and renew the result."""
        append(self.folder / RATINGS, ratings)
        self.write_result()

    def write_result(self) -> dict[str, Any]:
        """Write `result.json` from all ratings and return it."""
        reference, model = self.models
        found = {**self.facts, **result(self.pairs, self.ratings(), model, reference)}
        beside = self.folder / f".{RESULT}.{os.getpid()}.tmp"  # two raters may work at once
        write_json(beside, found)
        beside.replace(self.folder / RESULT)
        return found


def open_sheet(folder: Path) -> Sheet | None:
    """Return the sheet in `folder`, or `None` if there is no whole one."""
    if not (folder / SHEET).is_file():
        return None
    facts = json.loads((folder / SHEET).read_text(encoding="utf-8"))
    return Sheet(folder, facts, read_pairs(folder / PAIRS))


def make_sheet(line: Line, wish: Wish, folder: Path, context: Context) -> Sheet:
    """Return the sheet of a wish: the one in `folder` if it is of these answers, else a new one.

    Ratings belong to prompt and answers, not to a sheet: those of pairs that come again count on.

    Raises:
        RecipeError: a model or a task is not there.
        DataError: there is nothing to choose between.
    """
    line.check_models(wish.models)
    source = _source(line, wish)
    made_from = line.digests(*_artefacts(wish, source))
    wanted = {**asdict(wish), "models": list(wish.models), "made_from": made_from}
    known = open_sheet(folder)
    if known and wanted.items() <= known.facts.items():
        return known
    offer = _offer(line, wish, source, context)
    pairs = sample(offer.pairs, wish.samples, wish.seed)
    if not pairs:
        raise DataError(
            f"{' and '.join(wish.models)} gave the same answer to all {offer.items} items: "
            "there is nothing to choose between",
            fix="compare others with --models, or another task with --task",
        )
    facts = {**wanted, "answers": source, "items": offer.items, "same": offer.same}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SHEET).unlink(missing_ok=True)  # written last: a folder with it is whole
    write_pairs(folder / PAIRS, pairs)
    write_json(folder / SHEET, facts)
    return Sheet(folder, facts, pairs)


def _source(line: Line, wish: Wish) -> str:
    """Say where answers come from: "task", "labels", or "generated"."""
    if wish.task is not None:
        return "task"
    rows = rows_of(line).values()
    if not any(json.loads(row["messages"] or "[]") for row in rows):
        tasks = ", ".join(judged_tasks(line))
        raise DataError(
            "the held-out rows are plain text: nothing was asked, so there are no answers",
            fix=f"name a task: --task one of {tasks}" if tasks else "add a task to the recipe",
        )
    return "labels" if all(row["choices"] for row in rows) else "generated"


def _offer(line: Line, wish: Wish, source: str, context: Context) -> Offer:
    if source == "task":
        return task_pairs(line, wish.models, str(wish.task))
    if source == "labels":
        return label_pairs(line, wish.models)
    asking = Asking(wish.models, wish.samples, wish.seed, wish.max_new_tokens)
    return generated_pairs(line, asking, context)


def _artefacts(wish: Wish, source: str) -> list[str]:
    """Return the names of the artefacts that hold the answers, or the models that give them."""
    torch = {"base", "tuned"}
    if source != "generated":
        files = ["evaluation"]
        return files if torch >= set(wish.models) else [*files, "verification"]
    names = {"tokens"}
    for model in wish.models:
        names |= {"base": {"base"}, "tuned": {"base", "adapter"}}.get(model, {"onnx"})
    return sorted(names)
