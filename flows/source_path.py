"""Which `source.path` reads one file more, and how it gets into the recipe."""

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from components.contracts.errors import RecipeError, SourceError
from components.sources.local import find_files
from components.sources.many import NOTE
from components.sources.readers import one_format
from components.sources.settings import FileRows
from components.sources.text_input import inner_name, suffix


def path_with(root: Path, recipe: str, source: FileRows, name: str) -> str:
    """Return the `source.path` that reads `name` in the recipe's folder and all that is read now.

    The path that stands there is kept if it does; else it is the folder or a pattern, if that holds
    nothing but these files. Raises `RecipeError` if none does, `SourceError` for mixed formats.
    """
    folder = f"data/inputs/{recipe}"
    patterns = _patterns(folder, name)
    with _outline(root, folder) as outline:
        wanted = _read_by(source.path, outline) | {f"{folder}/{name}"}
        (outline / folder / name).touch()
        one_format([Path(one).name for one in sorted(wanted)], source.read, folder)
        for path in (source.path, folder, *patterns):
            if _read_by(path, outline) == wanted:
                return path
        others = sorted(_read_by(folder, outline) - wanted)
    raise RecipeError(
        f"recipes/{recipe}.yaml: source.path: neither {folder} nor {' nor '.join(patterns)} means "
        f"{', '.join(sorted(wanted))} and nothing else (what else is there: "
        f"{', '.join(others) or 'nothing'})",
        fix=f"give the file another ending or name, or move the files of rows to {folder}/rows/ "
        "and write that folder as source.path",
    )


def with_path(text: str, path: str, place: str) -> str:
    """Return the text of a recipe with another `source.path`; not one other character changes.

    Raises `RecipeError` naming `place` where the value cannot be told apart, as with an alias.
    """
    node = _child(_child(yaml.compose(text, Loader=yaml.SafeLoader), "source"), "path")
    if node.value == path:
        return text
    plain = re.fullmatch(r"[\w./-]+", path) is not None
    written = path if plain else json.dumps(path, ensure_ascii=False)
    new = text[: node.start_mark.index] + written + text[node.end_mark.index :]
    wanted = yaml.safe_load(text)
    wanted["source"]["path"] = path
    with suppress(yaml.YAMLError):
        if yaml.safe_load(new) == wanted:
            return new
    raise RecipeError(
        f"{place}: source.path cannot be changed by itself",
        fix=f"write `path: {path}` below `source` by hand, and run again",
    )


def _child(node: Any, key: str) -> Any:
    return next(value for name, value in node.value if name.value == key)


def _patterns(folder: str, name: str) -> list[str]:
    """Return patterns for files like `name`, the narrower first: `x/*.jsonl.gz`, `x/*.jsonl*`."""
    inner = inner_name(name)
    ending = suffix(inner)
    packed = name[len(inner) :]
    return [f"{folder}/*{ending}{packed}", *([f"{folder}/*{ending}*"] if ending else [])]


@contextmanager
def _outline(root: Path, folder: str) -> Iterator[Path]:
    """Give a project with the names of a recipe's inputs: empty files, to try a path on.

    What DVC keeps but has not brought here yet is among them.
    """
    with tempfile.TemporaryDirectory() as made:
        outline = Path(os.path.realpath(made))
        (outline / folder).mkdir(parents=True)
        for file in (root / folder).rglob("*"):
            if file.is_dir():
                continue
            copy = outline / file.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
            if copy.suffix == NOTE and not file.with_suffix("").is_dir():
                copy.with_suffix("").touch()
        yield outline


def _read_by(path: str, root: Path) -> set[str]:
    """Return the files that a `source.path` reads, as paths below `root`; none if it does not."""
    with suppress(SourceError):
        return {f.path.relative_to(root).as_posix() for f in find_files(path, root)}
    return set()
