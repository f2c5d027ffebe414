"""A recipe: the settings sections of one line of models, put together and checked at once."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from components.contracts.errors import RecipeError, did_you_mean
from components.contracts.settings import Settings
from components.evaluation.settings import EvaluationSettings
from components.export.settings import ExportSettings
from components.formats.settings import FormatSettings
from components.gate.settings import GateSettings
from components.report.settings import ReportSettings
from components.retraining.settings import RetrainSettings
from components.sources.settings import ModelSettings, SourceSettings
from components.tokenization.settings import TokenizationSettings
from components.training.settings import TrainingSettings
from components.validation.settings import ValidationSettings
from components.verification.settings import VerificationSettings
from flows.operation import OperationSettings
from flows.recipe_demands import need_known_demands
from flows.recipe_errors import duplicate_keys, explain
from flows.register import RegistrySettings
from flows.sweep_settings import SweepSettings

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
TAKEN = {
    "accepted": "what is remembered of accepted data",
    "incoming": "files of rows that are still to be taken",
    "initial": "the adapters that training goes on from",
    "inputs": "the rows of all recipes",
    "judged": "what people said of answers",
}
"""Folders of data/ that are not a recipe's, and what they hold."""

SHARED = "recipes/guards/"
"""What all recipes may ask their models; the graph looks there for every recipe."""

REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class Recipe(Settings):
    """Every section of a stage is required: DVC hashes each by name. `{}` takes all defaults.

    `retrain` belongs to no stage: it says when the line runs, not what it makes. `sweep` says what
    is tried beside the line.
    """

    description: str = ""
    source: SourceSettings
    format: FormatSettings
    validation: ValidationSettings
    model: ModelSettings
    tokenization: TokenizationSettings
    training: TrainingSettings
    evaluation: EvaluationSettings
    export: ExportSettings
    verification: VerificationSettings
    gate: GateSettings
    report: ReportSettings
    registry: RegistrySettings
    retrain: RetrainSettings = RetrainSettings()
    operation: OperationSettings = OperationSettings()
    sweep: SweepSettings | None = None

    def flat(self) -> dict[str, str]:
        """Return every setting of a stage as `section.key` → text, lists as JSON-like text."""
        beside = {"description", "retrain", "operation", "sweep"}
        return dict(flatten(self.model_dump(mode="json", exclude=beside)))


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested mappings with dotted names."""
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping):
            yield from flatten(inner, f"{name}.")
        else:
            yield name, str(inner)


def load_recipe(root: Path, name: str) -> Recipe:
    """Read and check `recipes/NAME.yaml` below `root`; it must stand in params.yaml.

    Raises `RecipeError` with every fault of the file at once.
    """
    file = recipe_file(root, name)
    need_listed(root, name)
    recipe = parse_recipe(file)
    need_own_folder(recipe, name)
    need_known_demands(recipe, name)
    return recipe


def need_own_folder(recipe: Recipe, name: str) -> None:
    """Raise `RecipeError` if a local input lies where the graph does not look for this recipe."""
    own = f"data/inputs/{name}"
    need_own_adapter(recipe, name)
    for key, path in _local_inputs(recipe):
        if REMOTE.match(path):
            fix = f"bring it to {own}/ and name it there"
            if key == "source.path":
                fix = f'write source: {{kind: url, url: "{path}", …}}, or {fix}'
            raise RecipeError(
                f"recipes/{name}.yaml: {key}: found '{path}', but a local path is needed", fix=fix
            )
        if path != own and not path.startswith(own + "/"):
            raise RecipeError(
                f"recipes/{name}.yaml: {key}: found '{path}', which is not in {own}/: "
                "a change there would not be seen",
                fix=f"move it to {own}/ and name it there",
            )


def need_own_adapter(recipe: Recipe, name: str) -> None:
    """Raise `RecipeError` if training goes on from where the graph does not look."""
    path = recipe.training.adapter_name_or_path
    if path is not None and not path.startswith(f"data/initial/{name}/"):
        raise RecipeError(
            f"recipes/{name}.yaml: training.adapter_name_or_path: found '{path}', which is not in "
            f"data/initial/{name}/: a change there would not be seen",
            fix=f"copy the adapter to data/initial/{name}/adapter and name it there",
        )


def _local_inputs(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield key and path of every local file or folder that a recipe names."""
    named = {
        "source": recipe.source,
        "model": recipe.model,
        "model.teacher": recipe.model.teacher,
    }
    for key, settings in named.items():
        if settings is not None and settings.kind == "file":
            yield f"{key}.path", str(settings.path)
    for number, one in enumerate(recipe.validation.contamination):
        yield f"validation.contamination.{number}.path", one.path
    for path in recipe.evaluation.paths():
        if not path.startswith(SHARED):
            yield "evaluation", path


def parse_recipe(file: Path) -> Recipe:
    """Read and check one recipe file; raise `RecipeError` naming all its faults."""
    place = f"{file.parent.name}/{file.name}"
    text = _text(file, place)
    data = _mapping(text, place)
    faults = [f"{place}: {fault}" for fault in duplicate_keys(text)]
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        faults += explain(error, Recipe, data, text, place)
    if faults:
        raise RecipeError("\n".join(faults), fix=f"mend {place} and run again")
    return recipe


def recipe_file(root: Path, name: str) -> Path:
    """Return the path of a recipe's file; raise `RecipeError` if it is missing or misnamed."""
    file = root / "recipes" / f"{name}.yaml"
    if name in TAKEN:
        raise RecipeError(
            f"a recipe cannot have the name '{name}': data/{name}/ holds {TAKEN[name]}",
            fix=f"rename recipes/{name}.yaml" if file.is_file() else "give it another name",
        )
    if not NAME.fullmatch(name) or not file.is_file():
        there = recipes_in(root)
        raise RecipeError(
            f"there is no recipe '{name}' (recipes/{name}.yaml){did_you_mean(name, there)}",
            fix=f"use one of: {', '.join(there)}" if there else "write one below recipes/",
        )
    return file


def recipes_in(root: Path) -> list[str]:
    """Return the names of all recipe files, in order."""
    return sorted(file.stem for file in (root / "recipes").glob("*.yaml"))


def listed(root: Path) -> list[str]:
    """Return the recipes that params.yaml puts on the line; raise `RecipeError` if it cannot."""
    data = _mapping(_text(root / "params.yaml", "params.yaml"), "params.yaml")
    names = data.get("recipes")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RecipeError(
            f"params.yaml: recipes: found {names!r}, but it should be a list of recipe names",
            fix="write `recipes: [NAME]` there",
        )
    return names


def need_listed(root: Path, name: str) -> None:
    """Raise `RecipeError` saying how to put a recipe on the line, unless it is there."""
    names = listed(root)
    if name not in names:
        raise RecipeError(
            f"recipe '{name}' is not on the line: params.yaml lists {', '.join(names) or 'none'}",
            fix=f"run `tuneline run {name} --add`, or add it under `recipes` in params.yaml",
        )


def add_to_line(root: Path, name: str) -> bool:
    """Put a recipe on the line by adding it to params.yaml; return whether it was missing.

    Its folders of inputs, accepted data, adapters to go on from and judgements are made too: the
    graph depends on them even where they stay empty.
    """
    for kind in ("inputs", "accepted", "initial", "judged"):
        folder = root / "data" / kind / name
        if not folder.is_dir():
            folder.mkdir(parents=True)
            (folder / ".gitkeep").touch()
    if name in listed(root):
        return False
    file = root / "params.yaml"
    lines = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    entries = list(_entries(lines))
    if not entries:
        raise RecipeError(
            "params.yaml: recipes is not a list with one name a line: nothing can be added to it",
            fix=f"write `- {name}` below `recipes:` by hand",
        )
    indent = lines[entries[-1]].split("-")[0]
    lines.insert(entries[-1] + 1, f"{indent}- {name}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return True


def _entries(lines: list[str]) -> Iterator[int]:
    """Yield the numbers of the lines that are entries of `recipes`."""
    inside = False
    for at, line in enumerate(lines):
        if re.match(r"[^\s#-]", line):
            inside = line.startswith("recipes:")
        elif inside and re.match(r"\s*- ", line):
            yield at


def _text(file: Path, place: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(
            f"{place} cannot be read: {error.strerror}", fix="run from inside the project"
        ) from error
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{place} is not UTF-8 (byte {error.start})", fix="save it as UTF-8"
        ) from error


def _mapping(text: str, place: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{place}:{mark.line + 1}" if mark else place
        raise RecipeError(
            f"{where}: not valid YAML: {error.problem}",
            fix=f"mend the line (column {mark.column + 1})" if mark else None,
        ) from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{place}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise RecipeError(
            f"{place}: found {type(data).__name__}, but it should be keys with values",
            fix="see recipes/sentiment.yaml for one that works",
        )
    return {str(key): value for key, value in data.items()}
