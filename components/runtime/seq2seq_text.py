"""From messages to an answer with an exported encoder-decoder."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError
from components.runtime.generate import Generation
from components.runtime.ort_seq2seq import NO_LIMIT, OrtSeq2Seq, read_config
from components.runtime.session import Device
from components.runtime.template import Message
from components.runtime.text import TextModel, stop_ids
from components.runtime.turns import plain_text


class SourceModel(TextModel):
    """An exported folder that reads a source and answers with what is written to it.

    The source is the plain text of the turns, with the end-of-sequence token behind it, as in
    training. There is no chat template, and the answer takes no room from the source.
    """

    source_apart = True

    def __init__(self, folder: Path, *, threads: int = 0, device: Device = "cpu") -> None:
        self._open(folder, threads, device)
        self.stop_ids = stop_ids(_ends(folder))
        self.context_length = NO_LIMIT

    @cached_property
    def model(self) -> OrtSeq2Seq:  # type: ignore[override]
        return OrtSeq2Seq(self.folder, threads=self.threads, device=self.device)

    @property
    def decodes_together(self) -> bool:
        """Requests are answered one after the other."""
        return False

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Return the contents of the turns; see `components.runtime.turns`."""
        del add_generation_prompt
        return plain_text(messages)

    def prompt_ids(self, prompt: str | Sequence[Message]) -> list[int]:
        """Return the ids of the source; raise `ModelError` where there is no text to read."""
        text = prompt if isinstance(prompt, str) else self.render(prompt)
        if not text:
            raise ModelError("the prompt has no text", fix="give some text to answer to")
        return self.encode(text)

    def fitting(self, prompt: Sequence[int], generation: Generation) -> Generation:
        """Return `generation`: whatever the source, the answer may be that long."""
        del prompt
        return generation


def _ends(folder: Path) -> int | list[int]:
    """Return the ids that end an answer: the generation config says it, or the model's own."""
    file = folder / "generation_config.json"
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    found: int | list[int] | None = told.get(
        "eos_token_id", read_config(folder).get("eos_token_id")
    )
    if found is None:
        raise ModelError(
            f"{folder} does not say which token ends an answer",
            fix="set eos_token_id in its generation_config.json",
        )
    return found
