"""Errors that say what was found, what is allowed and what to do next."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class TunelineError(Exception):
    """A fault the user can mend. Doors print it without a traceback and exit with `exit_code`."""

    exit_code = 2

    def __init__(self, problem: str, *, fix: str | None = None) -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(problem if fix is None else f"{problem}\n  → {fix}")


class RecipeError(TunelineError):
    """A recipe has an unknown key, a wrong type or a value out of range."""


class SourceError(TunelineError):
    """Rows or a model could not be brought here as the recipe names them."""


class UnreachableError(SourceError):
    """A network or a server does not answer; the same call may succeed later."""


class DataError(TunelineError):
    """The data is not fit to train on; retrying cannot help."""


class ArtefactError(TunelineError):
    """An artefact on disk is missing, incomplete or not what its manifest says."""


class SpaceError(TunelineError):
    """The disk has too little room for what is about to be written."""


class ModelError(TunelineError):
    """A model cannot be loaded, adapted or exported as asked."""


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the nearest allowed name, else an empty string."""
    near = get_close_matches(found, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def choose(what: str, found: str, allowed: dict[str, T], error: type[TunelineError]) -> T:
    """Return `allowed[found]`, or raise `error` naming what is allowed."""
    if found in allowed:
        return allowed[found]
    raise error(
        f"{what} '{found}' is not known{did_you_mean(found, allowed)}",
        fix=f"use one of: {', '.join(sorted(allowed))}",
    )
