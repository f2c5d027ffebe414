"""Which runner an exported folder needs, told by what lies in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from components.runtime.ort_classifier import LabelModel
from components.runtime.text import TextModel


class Served(Protocol):
    """Answers a text, or a conversation, with text."""

    def answer(self, prompt: Any, **settings: Any) -> str: ...


RUNNERS: dict[str, Callable[..., Served]] = {"genai_config.json": TextModel}
"""The file that tells a decoder; a folder without it holds a classifier."""


def open_served(folder: Path, **options: Any) -> Served:
    """Open an exported folder; `options` are those of `TextModel`."""
    found = (runner for file, runner in RUNNERS.items() if (folder / file).is_file())
    return next(found, LabelModel)(folder, **options)
