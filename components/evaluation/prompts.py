"""From rows to prompts: examples before the question, chat template or plain text, token ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from components.contracts.errors import ModelError
from components.evaluation.rows import Row
from components.runtime.template import Template, dialect
from components.scoring.voice import Voice

Tokens = tuple[int, ...]
Turn = Mapping[str, str]

TODAY = datetime(2024, 7, 26)
"""What a template that asks for the date is told: the same as when the rows were tokenised."""


@dataclass
class Prompter:
    """Makes token ids of rows; `limit` is how many tokens the model reads at most.

    A prompt that is too long loses its beginning; `shortened` counts those.
    """

    voice: Voice
    limit: int | None
    chat: bool
    fewshot_delimiter: str = "\n\n"
    target_delimiter: str = " "
    shots: Sequence[Row] = field(default_factory=tuple)
    shortened: int = 0

    def ask(self, row: Row, room: int) -> Tokens:
        """Return the prompt of a row, leaving `room` tokens for the answer."""
        return self._fit(self.voice.encode(self.text(row), special=not self.chat), room)

    def choices(self, row: Row) -> tuple[Tokens, tuple[Tokens, ...]]:
        """Return the prompt of a row and its choices behind it.

        Prompt and choice are encoded as one text, and the choice is what comes after the ids of
        the prompt alone: as lm-eval does it.
        """
        text = self.text(row)
        kept = text.rstrip(" ")
        start = self.voice.encode(kept, special=not self.chat)
        gap = text[len(kept) :] + ("" if self.chat else self.target_delimiter)
        found = tuple(
            tuple(self.voice.encode(kept + gap + word, special=not self.chat)[len(start) :])
            for word in row.choices
        )
        return self._fit(start, max(map(len, found))), found

    def text(self, row: Row) -> str:
        """Return the prompt of a row as text."""
        return self._chat(row) if self.chat else self._plain(row)

    def _chat(self, row: Row) -> str:
        system = [turn for turn in row.turns if turn["role"] == "system"]
        examples = [turn for shot in self.shots for turn in _dialogue(shot)]
        turns = [*system, *examples, *(t for t in row.turns if t["role"] != "system")]
        return self._template.render(
            turns, tools=None, documents=None, add_generation_prompt=True, **self._tokens
        )

    def _plain(self, row: Row) -> str:
        """System turns, examples and question, each with the delimiter between."""
        parts = [turn["content"] for turn in row.turns if turn["role"] == "system"]
        parts += [_question(shot) + self.target_delimiter + shot.answer for shot in self.shots]
        return self.fewshot_delimiter.join([*parts, _question(row)])

    def _fit(self, ids: Sequence[int], room: int) -> Tokens:
        if self.limit is None or len(ids) + room <= self.limit:
            return tuple(ids)
        if room >= self.limit:
            raise ModelError(
                f"the model reads {self.limit} tokens, and {room} are asked for the answer alone",
                fix="lower max_new_tokens, or leave out the task",
            )
        self.shortened += 1
        return tuple(ids[room - self.limit :])

    @cached_property
    def _tokens(self) -> dict[str, str]:
        return dict(self.voice.tokenizer.special_tokens_map)

    @cached_property
    def _template(self) -> Template:
        from jinja2 import TemplateError

        source: Any = self.voice.tokenizer.chat_template
        if isinstance(source, dict):
            source = source.get("default")
        if not source:
            raise ModelError(
                "the base model's tokenizer has no chat template",
                fix="set apply_chat_template: false in the task",
            )
        try:
            return Template(dialect(TODAY.strftime).from_string(source))
        except TemplateError as error:
            raise ModelError(f"the chat template cannot be read: {error}") from error


def _dialogue(row: Row) -> list[Turn]:
    turns = [turn for turn in row.turns if turn["role"] != "system"]
    return [*turns, {"role": "assistant", "content": row.answer}]


def _question(row: Row) -> str:
    return "\n".join(turn["content"] for turn in row.turns if turn["role"] != "system")
