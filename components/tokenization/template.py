"""Chat templates, rendered as transformers renders them, and sooner where that is provably equal.

The clock of a template stands still: the same rows give the same ids on any day.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from components.contracts.errors import ModelError
from components.runtime.template import TODAY, dialect
from components.tokenization.probe import Shape, compile_probing, find_shape

OPEN, CLOSE = "\ufdd0", "\ufdd1"
"""Stand for `{% generation %}` and its end in a rendering: Unicode keeps them free for such use."""

PROVED = 8
"""So many conversations of one shape are rendered both ways before the short way is trusted."""

PLAIN = {"role", "content"}
"""A message with anything more, such as a tool's call, goes the plain way."""

OURS = {"tools", "weight"}
"""Keys of a turn that are not for the template: tools are a variable of their own there."""

Messages = Sequence[Mapping[str, Any]]
Span = tuple[int, int]
Key = tuple[bool, tuple[str, ...]]
"""Whether an answer is called for, and the roles."""


class ChatTemplate:
    """A compiled chat template. `variables` are the special tokens by name (`bos_token` …)."""

    def __init__(self, source: str, variables: Mapping[str, str]) -> None:
        self.source = source
        self.variables = dict(variables)
        self._shapes: dict[Key, Shape | None] = {}
        self._proved: dict[Key, int] = {}

    @cached_property
    def marks_answers(self) -> bool:
        """Whether the template says by `{% generation %}` what an assistant writes."""
        return re.search(r"\{%-?\+?\s*generation\s*[-+]?%\}", self.source) is not None

    def render(self, messages: Messages, *, generation_prompt: bool) -> str:
        """Return the conversation as text; raise `ModelError` if the template refuses it."""
        return _unmarked(self._render(messages, generation_prompt))

    def render_marked(self, messages: Messages) -> tuple[str, list[Span]]:
        """Return the conversation as text and the stretches inside `{% generation %}` blocks."""
        pieces = re.split(f"([{OPEN}{CLOSE}])", self._render(messages, False))
        text, spans = "", []
        for piece in pieces:
            if piece == OPEN:
                start = len(text)
            elif piece == CLOSE:
                spans.append((start, len(text)))
            else:
                text += piece
        return text, spans

    def _render(self, messages: Messages, generation_prompt: bool) -> str:
        if any(message.keys() != PLAIN for message in messages):
            return self._slowly(messages, generation_prompt)
        roles = tuple(message["role"] for message in messages)
        key = (generation_prompt, roles)
        if key not in self._shapes:
            values = self._values(generation_prompt)
            self._shapes[key] = find_shape(self._probing, roles, values) if self._probing else None
        shape = self._shapes[key]
        text = shape.fill(messages) if shape else None
        if text is None:
            return self._slowly(messages, generation_prompt)
        if self._proved.setdefault(key, 0) < PROVED:
            self._proved[key] += 1
            slow = self._slowly(messages, generation_prompt)
            if slow != text:
                self._shapes[key] = None
            return slow
        return text

    def _slowly(self, messages: Messages, generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        values = self._values(generation_prompt)
        tools = messages[0].get("tools") if messages else None
        turns = list(map(turn_of_openai, messages))
        try:
            return str(self._compiled.render(messages=turns, **{**values, "tools": tools}))
        except (TemplateError, TypeError) as error:  # TypeError: a text is joined to a missing one
            raise ModelError(
                f"the chat template refuses this conversation: {error}",
                fix="check the roles and their order; a turn that only calls tools needs a "
                "template that knows tool_calls",
            ) from error

    def _values(self, generation_prompt: bool) -> dict[str, Any]:
        flags = {"tools": None, "documents": None, "add_generation_prompt": generation_prompt}
        return {**self.variables, **flags}

    @cached_property
    def _probing(self) -> Any | None:
        return compile_probing(self.environment, self.source) if self._compiled else None

    @cached_property
    def _compiled(self) -> Any:
        from jinja2 import TemplateError

        try:
            return self.environment.from_string(self.source)
        except TemplateError as error:
            raise ModelError(
                f"the chat template cannot be read: {error}",
                fix="mend the template of the base model",
            ) from error

    @cached_property
    def environment(self) -> Any:
        """What the template is compiled in: answers stand between marks."""
        return dialect(TODAY.strftime, (OPEN, CLOSE))


def turn_of_openai(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a turn as templates expect it: without our own keys, null content beside calls."""
    turn = {name: value for name, value in message.items() if name not in OURS}
    return {**turn, "content": None} if turn.get("tool_calls") and not turn["content"] else turn


def _unmarked(text: str) -> str:
    return text.replace(OPEN, "").replace(CLOSE, "")
