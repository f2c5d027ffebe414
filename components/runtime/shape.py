"""How a model is asked: with the turns and the template that its rows were trained with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.contracts.errors import ModelError
from components.runtime.template import Message

TEXT = "{text}"
Prompt = str | list[dict[str, Any]]
"""Plain text as it is, or turns for the chat template."""


@dataclass(frozen=True)
class Shape:
    """The shape of a row as it was trained (`components.formats.serving.Serving` tells it).

    `system` is the turn before the user's, `template` makes the user's turn of a text. A `plain`
    model knows no turns. `labels` are the answers that a label model can give. `single_turn` rows
    had no turns before the question.
    """

    system: str | None = None
    template: str = TEXT
    plain: bool = False
    labels: tuple[str, ...] = ()
    single_turn: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape":
        """Return the shape that a registered model's configuration holds; keys may be missing."""
        return cls(
            system=config.get("system") or None,
            template=config.get("template") or TEXT,
            plain=bool(config.get("plain")),
            labels=tuple(config.get("labels") or ()),
            single_turn=bool(config.get("single_turn")),
        )

    def ask(self, text: str, *, system: str | None = None) -> Prompt:
        """Return the prompt of one text; `system` stands in for the trained system turn."""
        return self.turns([{"role": "user", "content": text}], system=system)

    def turns(self, messages: Sequence[Message], *, system: str | None = None) -> Prompt:
        """Return the prompt of a conversation: each user's turn is a text put into the template.

        The trained system turn goes first unless the conversation or the caller brings one.
        Raises `ModelError` for a plain model that is given more than one text.
        """
        if self.plain:
            return self._text(messages, system)
        made = [self._filled(turn) for turn in messages]
        said = self.system if system is None else system
        if said and (system is not None or not _has_system(made)):
            rest = made[1:] if _has_system(made) else made
            made = [{"role": "system", "content": said}, *rest]
        return made

    def _filled(self, turn: Message) -> dict[str, Any]:
        if turn.get("role") != "user":
            return dict(turn)
        return {**turn, "content": self.template.replace(TEXT, str(turn["content"]))}

    def _text(self, messages: Sequence[Message], system: str | None) -> str:
        if len(messages) != 1 or messages[0].get("role") != "user" or system:
            raise ModelError(
                "this model was trained on plain text: it knows no system turn, no earlier turns",
                fix="give one text to go on from",
            )
        return str(messages[0]["content"])


def _has_system(messages: Sequence[Message]) -> bool:
    return bool(messages) and messages[0].get("role") == "system"
