"""From rows to prompts: examples before the question, chat template or plain text, token ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from components.contracts.errors import ModelError
from components.evaluation.rows import Row
from components.scoring.voice import Voice
from components.scoring.wording import Wording, encode_choices

Tokens = tuple[int, ...]
Turn = Mapping[str, str]


@dataclass
class Prompter:
    """Makes token ids of rows; `limit` is how many tokens the model reads at most.

    A prompt that is too long loses its beginning; `shortened` counts those. `asked` holds
    the words of each prompt, in order.
    """

    voice: Voice
    limit: int | None
    chat: bool
    fewshot_delimiter: str = "\n\n"
    target_delimiter: str = " "
    shots: Sequence[Row] = field(default_factory=tuple)
    shortened: int = 0
    asked: list[Wording] = field(default_factory=list)

    def ask(self, row: Row, room: int) -> Tokens:
        """Return the prompt of a row, leaving `room` tokens for the answer."""
        wording = self._wording(replace(row, choices=()))  # it writes freely
        text = wording.prompt(self.voice)
        return self._fit(self.voice.encode_prompt(text, special=wording.special), room)

    def choices(self, row: Row) -> tuple[Tokens, tuple[Tokens, ...]]:
        """Return the prompt of a row and its choices behind it; see `encode_choices`."""
        wording = self._wording(row)
        text = wording.prompt(self.voice)
        start, found = encode_choices(
            self.voice, text, row.choices, gap=wording.gap, special=wording.special
        )
        return self._fit(start, max(map(len, found))), found

    def text(self, row: Row) -> str:
        """Return the prompt of a row as text."""
        return self._said(row).prompt(self.voice)

    def _wording(self, row: Row) -> Wording:
        wording = self._said(row)
        self.asked.append(wording)
        return wording

    def _said(self, row: Row) -> Wording:
        if self.chat:
            return Wording(self._chat(row), choices=row.choices)
        return Wording(text=self._plain(row), choices=row.choices, gap=self.target_delimiter)

    def _chat(self, row: Row) -> tuple[Turn, ...]:
        system = [turn for turn in row.turns if turn["role"] == "system"]
        examples = [turn for shot in self.shots for turn in _dialogue(shot)]
        return (*system, *examples, *(t for t in row.turns if t["role"] != "system"))

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


def _dialogue(row: Row) -> list[Turn]:
    turns = [turn for turn in row.turns if turn["role"] != "system"]
    return [*turns, {"role": "assistant", "content": row.answer}]


def _question(row: Row) -> str:
    return "\n".join(turn["content"] for turn in row.turns if turn["role"] != "system")
