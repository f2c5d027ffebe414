"""A prompt and its completion, as one user and one assistant turn."""

from components.formats.example import Example, Fields, Message, system_turn, text_column
from components.formats.settings import PromptCompletionSettings


def read(fields: Fields, settings: PromptCompletionSettings) -> Example:
    """Return the example of one row; raise `RowError` for a missing column."""
    prompt = text_column(fields, settings.prompt)
    completion = text_column(fields, settings.completion)
    messages = (
        *system_turn(settings.system),
        Message(role="user", content=prompt),
        Message(role="assistant", content=completion),
    )
    return Example(messages, completion, (), -1, f"{prompt}\n{completion}")


def columns(settings: PromptCompletionSettings) -> tuple[str, ...]:
    """Return the columns that a row must have."""
    return (settings.prompt, settings.completion)
