"""Turns as the text of a model's own chat template, for models in torch and exported ones alike."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from components.contracts.errors import ModelError
from components.runtime.template import Template, dialect
from components.runtime.turns import plain_text
from components.scoring.voice import Voice

TODAY = datetime(2024, 7, 26)
"""What a template that asks for the date is told: the same as when the rows were tokenised."""


def render(voice: Voice, turns: Sequence[Mapping[str, Any]]) -> str:
    """Return the prompt for the next answer; raise `ModelError` if there is no such template.

    The source of an encoder-decoder is the turns' plain text.
    """
    if voice.source_apart:
        return plain_text(turns)
    source: Any = voice.tokenizer.chat_template
    if isinstance(source, dict):
        source = source.get("default")
    if not source:
        raise ModelError(
            "the base model's tokenizer has no chat template",
            fix="set apply_chat_template: false in the task",
        )
    tokens = dict(voice.tokenizer.special_tokens_map)
    return _compiled(source).render(
        turns, tools=None, documents=None, add_generation_prompt=True, **tokens
    )


@lru_cache(maxsize=8)
def _compiled(source: str) -> Template:
    from jinja2 import TemplateError

    try:
        return Template(dialect(TODAY.strftime).from_string(source))
    except TemplateError as error:
        raise ModelError(f"the chat template cannot be read: {error}") from error
