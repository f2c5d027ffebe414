"""The bench of a bisect: one version of the rows after the other, trained on shortly and measured.

Everything but the rows is the same for all: code, base model, seed, steps, held-out rows. Nothing
outside .tuneline/bisect/RECIPE/ is written.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

import components
from components.contracts.artefacts import sha256
from components.contracts.errors import RecipeError
from components.contracts.events import Context, Events
from components.contracts.kinds import BaseModelFolder, Dataset, Raw
from components.scoring.items import Score
from flows.bisect_versions import DataVersion, bring, copy_at
from flows.recipe import Recipe, recipe_file

TEXT_FIGURES = ("perplexity", "bits_per_byte")


@dataclass(frozen=True)
class Rows:
    """What a model is trained on: raw rows, the recipe that says how they are read, and the folder
    that this recipe's relative paths start from.
    """

    raw: Raw
    recipe: Recipe
    place: Path


@dataclass
class Bench:
    """`recipe` is the working copy's, with the training cut short. `held_out` is the data set of
    the good version: its validation and test rows are everybody's, and in nobody's training rows.
    """

    root: Path
    name: str
    recipe: Recipe
    folder: Path
    base: BaseModelFolder
    held_out: Dataset
    accepted: Path
    metric: str
    events: Events
    trained: int = 0

    def scores(self, rows: Rows) -> list[Score]:
        """Return what a model trained on `rows` makes of the held-out rows; kept ones if there are.

        Raises `DataError` if the rows are not fit to train on.
        """
        from components.scoring.tables import read_scores, write_scores

        key = self._key(rows)
        kept = self.folder / "measured" / f"{key}.parquet"
        if not kept.is_file():
            found = self._measure(rows, self.folder / "work" / key[:16])
            kept.parent.mkdir(parents=True, exist_ok=True)
            beside = kept.with_suffix(".tmp")
            write_scores(beside, found)
            beside.replace(kept)
            self.trained += 1
            shutil.rmtree(self.folder / "work" / key[:16])
        return read_scores(kept)

    def version(self, version: DataVersion) -> Rows:
        """Return the rows of a version, brought here if they are not yet.

        Raises `RecipeError` for sections that this code cannot read, `SourceError` and `DataError`
        where the rows cannot be had or read.
        """
        from components.sources.ingest import ingest

        recipe = recipe_with(self.root, self.name, version)
        place = bring(self.root, self.name, version, self.folder / "inputs" / version.key[:16])
        out = place / "raw"
        if not out.is_dir():
            ingest(recipe.source, out=out, context=context_at(place, place, self.events))
        return Rows(Raw.open(out), recipe, place)

    def _key(self, rows: Rows) -> str:
        """Hash everything that a measurement hangs on."""
        evaluated = self.recipe.evaluation
        told = {
            "rows": rows.raw.digest,
            "columns": rows.raw.facts["columns"],
            "read": [_plain(getattr(rows.recipe, name)) for name in ("format", "validation")],
            "same": [_plain(getattr(self.recipe, name)) for name in ("tokenization", "training")],
            "base": self.base.digest,
            "held_out": [self.held_out.files[f"{one}.parquet"] for one in ("validation", "test")],
            "accepted": [sha256(file) for file in sorted(self.accepted.glob("*"))],
            "items": [evaluated.split, evaluated.max_samples, self._texts()],
            "code": code_hash(),
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _texts(self) -> int | None:
        """Return of how many items the text is read too: that costs as much as the answers."""
        return self.recipe.evaluation.max_text_samples if self.metric in TEXT_FIGURES else 0

    def _measure(self, rows: Rows, place: Path) -> list[Score]:
        """Validate, tokenize, train and score the tuned model alone."""
        from components.contracts.task_types import task_type_of
        from components.evaluation.kinds import KINDS
        from components.scoring.tables import read_items
        from components.tokenization.tokenize import tokenize
        from components.training.train import train

        context = context_at(rows.place, place, self.events)
        checked = checked_rows(rows, place / "checked", context, self.accepted)
        dataset = held_apart(checked, self.held_out, place / "dataset")
        base, recipe = self.base, self.recipe
        tokens = tokenize(base, dataset, recipe.tokenization, out=place / "tokens", context=context)
        adapter = train(base, tokens, recipe.training, out=place / "adapter", context=context)
        kind, asked = KINDS[task_type_of(base)], recipe.evaluation
        items = read_items(tokens, asked.split, asked.max_samples, texts=self._texts())
        model = kind.models(base, tokens, adapter)["tuned"]()
        return kind.score(model, items, tokens, self.events, "score")


def context_at(root: Path, place: Path, events: Events) -> Context:
    """Return a context whose relative paths start at `root`, with its scratch below `place`."""
    (place / "scratch").mkdir(parents=True, exist_ok=True)
    return Context(root, place / "scratch", events)


def checked_rows(rows: Rows, out: Path, context: Context, accepted: Path) -> Dataset:
    """Run the validate step with the sections that belong to the rows."""
    from components.validation.validate import validate

    recipe = rows.recipe
    return validate(
        rows.raw, recipe.format, recipe.validation, out=out, context=context, accepted=accepted
    )


def held_apart(dataset: Dataset, held_out: Dataset, out: Path) -> Dataset:
    """Write a data set of the training rows of one and the held-out rows of the other.

    A training row whose text is among the held-out ones is left out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from components.validation.identity import duplicate_key

    def keys(table: Any) -> list[str]:
        return [duplicate_key(text, "text") for text in table["text"].to_pylist()]

    others = {one: held_out.split(one) for one in ("validation", "test")}
    taken = {key for file in others.values() for key in keys(pq.read_table(file))}
    train = pq.read_table(dataset.split("train"))
    with Dataset.write(out) as draft:
        kept = train.filter(pa.array([key not in taken for key in keys(train)], pa.bool_()))
        pq.write_table(kept, draft.folder / "train.parquet")
        for name, file in others.items():
            shutil.copyfile(file, draft.folder / f"{name}.parquet")
        draft.facts = dataset.facts
    return Dataset.open(out)


def open_bench(
    root: Path,
    name: str,
    good: DataVersion,
    *,
    folder: Path,
    metric: str,
    max_steps: int,
    events: Events,
) -> Bench:
    """Prepare the bench: the base model, and the good version's held-out rows.

    Raises `TunelineError` where these are not to be had.
    """
    recipe = recipe_with(root, name, None)
    own = recipe.training.max_steps
    steps = max_steps if own < 0 else min(max_steps, own)
    # From the base: an adapter to go on from has learned other rows already.
    afresh = {"max_steps": steps, "adapter_name_or_path": None}
    short = recipe.training.model_copy(update=afresh)
    recipe = recipe.model_copy(update={"training": short})
    base = _base(root, name, recipe, folder, events)
    empty, accepted = Dataset(folder, {}, {}), folder / "inputs" / "accepted"
    bench = Bench(root, name, recipe, folder, base, empty, accepted, metric, events)
    rows = bench.version(good)
    _bring_accepted(root, name, good, accepted)
    context = context_at(rows.place, rows.place, events)
    bench.held_out = checked_rows(rows, rows.place / "held_out", context, accepted)
    return bench


def _bring_accepted(root: Path, name: str, good: DataVersion, accepted: Path) -> None:
    """Bring what guarded the good version's test rows; there may have been nothing."""
    place, brought = f"data/accepted/{name}", accepted.with_name("brought")
    for folder in (accepted, brought):
        shutil.rmtree(folder, ignore_errors=True)
    copy_at(root, name, good.commit, place, brought)
    (brought / place).mkdir(parents=True, exist_ok=True)
    (brought / place).rename(accepted)


def _base(root: Path, name: str, recipe: Recipe, folder: Path, events: Events) -> BaseModelFolder:
    """Return the project's base model if it is the recipe's, else one fetched for the bisect."""
    from components.sources.fetch import fetch
    from flows.graph import changed_stages

    made = root / "data" / name / "base"
    if made.is_dir() and "fetch" not in changed_stages(root, name):
        return BaseModelFolder.open(made)
    key = hashlib.sha256(json.dumps(_plain(recipe.model), sort_keys=True).encode()).hexdigest()
    out = folder / f"base-{key[:16]}"
    if out.is_dir():
        return BaseModelFolder.open(out)
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    return fetch(recipe.model, out=out, context=Context(root, folder / "scratch", events))


def recipe_with(root: Path, name: str, version: DataVersion | None) -> Recipe:
    """Return the working copy's recipe with a version's sections about rows in it."""
    file = recipe_file(root, name)
    told: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    sections: Mapping[str, Any] = version.sections if version else {}
    try:
        return Recipe.model_validate({**told, **sections})
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        at = f" at {version.short}" if version else ""
        raise RecipeError(
            f"recipes/{name}.yaml{at}: {where}: {fault['msg']}",
            fix="this code cannot read the recipe of then: choose revisions that it can"
            if version
            else f"mend recipes/{name}.yaml",
        ) from error


def code_hash() -> str:
    """Return one hash over the code of all steps: a change of it makes kept figures worthless."""
    folder = Path(str(components.__file__)).parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.relative_to(folder).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _plain(settings: Any) -> Any:
    return settings.model_dump(mode="json")
