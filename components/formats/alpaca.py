"""Stanford Alpaca's shape: an instruction, perhaps with an input, and the output to learn."""

from collections.abc import Iterator
from typing import Any

from components.formats.example import (
    Example,
    Fields,
    Message,
    RowError,
    as_text,
    optional_text,
    system_turn,
    text_column,
)
from components.formats.settings import AlpacaSettings
from components.formats.template import fill, unfill
from components.formats.turns import joined, shown


def read(fields: Fields, settings: AlpacaSettings) -> Example:
    """Return the example of one row; raise `RowError` for a missing column or a bad history.

    `text` is the history, the instruction, the input and the output, without any system turn.
    """
    instruction = text_column(fields, settings.instruction)
    more = optional_text(fields, settings.input)
    output = text_column(fields, settings.output)
    system = optional_text(fields, settings.system_column) or settings.system
    history = _history(fields, settings.history)
    template = settings.template if more else settings.template_without_input
    messages = (
        *system_turn(system),
        *history,
        Message(role="user", content=fill(template, {"instruction": instruction, "input": more})),
        Message(role="assistant", content=output),
    )
    own = [part for part in (joined(history), instruction, more, output) if part]
    return Example(messages, output, (), -1, "\n".join(own))


def write(example: Example, settings: AlpacaSettings) -> Iterator[dict[str, Any]]:
    """Yield rows that may read as `example`, those without an input first."""
    row, turns = _start(example, settings)
    if [turn["role"] for turn in turns] != ["user", "assistant"] * (len(turns) // 2):
        return
    *history, prompt, output = [message["content"] for message in turns]
    if settings.history is not None and history:
        row[settings.history] = [list(pair) for pair in zip(*[iter(history)] * 2, strict=True)]
    ways = [settings.template_without_input, settings.template]
    for template in ways:
        for values in unfill(template, ["instruction", "input"], prompt):
            filled = {settings.instruction: values["instruction"], settings.output: output}
            if settings.input is not None:
                filled[settings.input] = values.get("input", "")
            yield {**row, **filled}


def columns(settings: AlpacaSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.instruction, settings.output)


def optional(settings: AlpacaSettings) -> tuple[str | None, ...]:
    """Return the columns that a row may have."""
    return (settings.input, settings.history, settings.system_column)


def _start(example: Example, settings: AlpacaSettings) -> tuple[dict[str, Any], list[Message]]:
    first, *rest = example.messages
    if first["role"] != "system":
        return {}, [first, *rest]
    column = settings.system_column
    return ({} if column is None else {column: first["content"]}), rest


def _history(fields: Fields, name: str | None) -> tuple[Message, ...]:
    pairs = None if name is None else fields.get(name)
    if pairs is None:
        return ()
    if not isinstance(pairs, list):
        raise RowError(
            "value",
            f"column '{name}' must hold a list of [instruction, output] pairs, not {shown(pairs)}",
            pairs,
        )
    turns: list[Message] = []
    for number, pair in enumerate(pairs, start=1):
        place = f"column '{name}', pair {number}"
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise RowError("value", f"{place} must be [instruction, output]: {shown(pair)}", pair)
        turns.append(Message(role="user", content=as_text(pair[0], place)))
        turns.append(Message(role="assistant", content=as_text(pair[1], place)))
    return tuple(turns)
