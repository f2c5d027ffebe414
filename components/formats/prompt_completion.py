"""A prompt and its completion, as one user and one assistant turn (or lists of turns)."""

from collections.abc import Iterator
from typing import Any

from components.formats.example import (
    Example,
    Fields,
    Message,
    RowError,
    column,
    optional_text,
    text_column,
)
from components.formats.settings import PromptCompletionSettings
from components.formats.turns import conversation, joined, need_answer, with_system


def read(fields: Fields, settings: PromptCompletionSettings) -> Example:
    """Return the example of one row; raise `RowError` for a missing column or a bad turn."""
    prompt = turns_of(fields, settings.prompt, "user")
    completion = turns_of(fields, settings.completion, "assistant")
    answer = need_answer(completion)
    if len(completion) > 1:
        raise RowError(
            "value",
            f"column '{settings.completion}' holds {len(completion)} turns, but one answer is "
            "learned; use format: {kind: messages} for whole conversations",
            completion,
        )
    own = (*prompt, *completion)
    system = optional_text(fields, settings.system_column) or settings.system
    return Example(with_system(own, system), answer, (), -1, joined(own))


def write(example: Example, settings: PromptCompletionSettings) -> Iterator[dict[str, Any]]:
    """Yield rows that may read as `example`, the plainest first."""
    *before, answer = example.messages
    for system, prompt in own_system(before, settings.system_column):
        if len(prompt) == 1:
            yield {
                **system,
                settings.prompt: prompt[0]["content"],
                settings.completion: answer["content"],
            }
        yield {**system, settings.prompt: prompt, settings.completion: [answer]}


def columns(settings: PromptCompletionSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.prompt, settings.completion)


def optional(settings: PromptCompletionSettings) -> tuple[str | None, ...]:
    """Return the columns that a row may have."""
    return (settings.system_column,)


def turns_of(fields: Fields, name: str, role: str) -> tuple[Message, ...]:
    """Return column `name` as turns: a text is one turn of `role`."""
    if isinstance(column(fields, name), list):
        return conversation(fields[name], name)
    return (Message(role=role, content=text_column(fields, name)),)


def own_system(
    turns: list[Message], system_column: str | None
) -> Iterator[tuple[dict[str, Any], list[Message]]]:
    """Yield the ways in which a system turn can stand in a row: not at all, a column, a turn."""
    if turns and turns[0]["role"] == "system":
        yield {}, turns[1:]
        if system_column is not None:
            yield {system_column: turns[0]["content"]}, turns[1:]
    yield {}, turns
