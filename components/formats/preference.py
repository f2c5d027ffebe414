"""A prompt with a chosen and a rejected answer (TRL's preference shapes).

Texts: one user turn and two answers. Lists of turns: either the answers are one assistant turn each
and the prompt stands in its own column, or both are whole conversations and what they begin with
in common is the prompt.
"""

from collections.abc import Iterator
from typing import Any

from components.formats.example import Example, Fields, Message, RowError, optional_text
from components.formats.prompt_completion import own_system, turns_of
from components.formats.settings import PreferenceSettings
from components.formats.turns import joined, need_answer, shown, with_system

Turns = tuple[Message, ...]

SILENT = {"tool_calls", "reasoning_content"}
"""What a turn may hold that the two texts of a pair cannot."""


def read(fields: Fields, settings: PreferenceSettings) -> Example:
    """Return the example of one row; raise `RowError` for a missing prompt or equal answers.

    The chosen answer is the one to learn. `text` is the prompt and the chosen answer.
    """
    chosen = turns_of(fields, settings.chosen, "assistant")
    rejected = turns_of(fields, settings.rejected, "assistant")
    shared = _shared(chosen, rejected)
    prompt = _prompt(fields, settings, shared)
    answer = _last(chosen[len(shared) :], settings.chosen)
    other = _last(rejected[len(shared) :], settings.rejected)
    if answer == other:
        raise RowError("value", f"chosen and rejected are the same answer: {shown(answer)}", answer)
    system = optional_text(fields, settings.system_column) or settings.system
    messages = (*prompt, *chosen[len(shared) :])
    return Example(with_system(messages, system), answer, (), -1, joined(messages), rejected=other)


def write(example: Example, settings: PreferenceSettings) -> Iterator[dict[str, Any]]:
    """Yield rows that may read as `example`, the plainest first."""
    *before, answer = example.messages
    other = {"role": "assistant", "content": example.rejected}
    for system, prompt in own_system(before, settings.system_column):
        pair = {settings.chosen: answer["content"], settings.rejected: example.rejected}
        if settings.prompt is not None:
            if len(prompt) == 1:
                yield {**system, settings.prompt: prompt[0]["content"], **pair}
            listed = {settings.chosen: [answer], settings.rejected: [other]}
            yield {**system, settings.prompt: prompt, **listed}
        whole = {settings.chosen: [*prompt, answer], settings.rejected: [*prompt, other]}
        yield {**system, **whole}


def columns(settings: PreferenceSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.chosen, settings.rejected)


def optional(settings: PreferenceSettings) -> tuple[str | None, ...]:
    """Return the columns that a row may have."""
    return (settings.prompt, settings.system_column)


def _shared(chosen: Turns, rejected: Turns) -> Turns:
    """Return the turns that both begin with, without the last turn of either."""
    count = 0
    for one, other in zip(chosen[:-1], rejected[:-1], strict=False):
        if one != other:
            break
        count += 1
    return chosen[:count]


def _prompt(fields: Fields, settings: PreferenceSettings, shared: Turns) -> Turns:
    name = settings.prompt
    given = None if name is None else fields.get(name)
    if given is None or name is None:
        if shared:
            return shared
        raise RowError(
            "value",
            "there is no prompt: "
            + (f"column '{name}' is missing or null" if name else "no column is named for it")
            + " and the answers do not begin with the same turns",
        )
    prompt = turns_of(fields, name, "user")
    if not shared:
        return prompt
    said = [message for message in shared if message["role"] != "system"]
    if [m for m in prompt if m["role"] != "system"] not in (said, said[-1:], said[:1]):
        raise RowError(
            "value",
            f"column '{name}' holds {shown(prompt[-1]['content'])}, but chosen and rejected begin "
            f"with {shown(shared[-1]['content'])}",
            given,
        )
    return shared


def _last(turns: Turns, name: str) -> str:
    if len(turns) != 1:
        raise RowError(
            "value",
            f"column '{name}' goes on for {len(turns)} turns after what chosen and rejected share, "
            "but they may differ in the last turn only",
            turns,
        )
    if turns[0].keys() & SILENT:
        raise RowError(
            "value",
            f"column '{name}' ends with a call of a tool or a thought apart from the answer; "
            "preferred answers must be text alone",
            turns,
        )
    return need_answer(turns)
