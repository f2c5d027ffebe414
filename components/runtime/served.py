"""Which runner an exported folder needs, told by what lies in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from components.runtime.ort_classifier import LabelModel
from components.runtime.ort_masked import FillModel, is_masked
from components.runtime.ort_seq2seq import ENCODER
from components.runtime.seq2seq_text import SourceModel
from components.runtime.text import TextModel


class Served(Protocol):
    """Answers a text, or a conversation, with text."""

    def answer(self, prompt: Any, **settings: Any) -> str: ...


WRITERS: dict[str, Callable[..., TextModel]] = {
    "genai_config.json": TextModel,
    ENCODER: SourceModel,
}
"""The file that tells a decoder, and an encoder-decoder; other folders hold an encoder."""


def open_served(folder: Path, **options: Any) -> Served:
    """Open an exported folder; `options` are those of `TextModel`."""
    if writes(folder):
        return open_text(folder, **options)
    return (FillModel if is_masked(folder) else LabelModel)(folder, **options)


def question_of(folder: Path, text: str) -> str:
    """Return what a folder is asked about a text; of a masked-language model a word is hidden."""
    if writes(folder) or not is_masked(folder):
        return text
    return FillModel(folder).asking(text)


def writes(folder: Path) -> bool:
    """Say whether a folder holds an exported model that answers with text of its own."""
    return any((folder / file).is_file() for file in WRITERS)


def open_text(folder: Path, **options: Any) -> TextModel:
    """Open an exported folder that answers with text; raise `ModelError` if it is none."""
    found = (runner for file, runner in WRITERS.items() if (folder / file).is_file())
    return next(found, TextModel)(folder, **options)
