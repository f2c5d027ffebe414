"""What is asked, as text: so that a model with another tokenizer can be asked the same.

Token ids mean something to one tokenizer only. A model with another one reads the same words by its
own chat template and encoding: what it chooses, writes, or needs in bits per byte is comparable;
perplexity per token is not.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from components.scoring.rendering import render
from components.scoring.requests import Plan, Request
from components.scoring.voice import Voice

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Wording:
    """A prompt as `turns` or, without a chat template, as `text`; behind it `gap` and a choice."""

    turns: tuple[Mapping[str, Any], ...] = ()
    text: str = ""
    choices: tuple[str, ...] = ()
    gap: str = ""

    def told(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def of(cls, told: str) -> "Wording":
        found = json.loads(told)
        return cls(tuple(found["turns"]), found["text"], tuple(found["choices"]), found["gap"])

    @property
    def special(self) -> bool:
        """Whether the tokenizer adds its special tokens: a rendered template has them already."""
        return not self.turns

    def prompt(self, voice: Voice) -> str:
        """Return the prompt as the model's own text."""
        return render(voice, self.turns) if self.turns else self.text


@dataclass(frozen=True)
class Stranger:
    """A model that reads other tokens: its voice, how many it reads, what texts begin behind."""

    voice: Voice
    limit: int
    prefix_token: int


END_OF_TEXT = "<|endoftext|>"


def prefix_of(voice: Voice) -> int:
    """Return the token that a text is read behind: as `tokenization.prefix_token: auto` says."""
    tokenizer = voice.tokenizer
    added = voice.encode("", special=True)
    if added and added[0] == tokenizer.bos_token_id:
        return int(added[0])
    return int(tokenizer.get_vocab().get(END_OF_TEXT, tokenizer.eos_token_id))


def encode_choices(
    voice: Voice, text: str, words: Sequence[str], *, gap: str, special: bool
) -> tuple[Tokens, tuple[Tokens, ...]]:
    """Return the ids of a prompt and of its choices behind it.

    Prompt and choice are encoded as one text, and the choice is what comes after the ids of the
    prompt alone: as lm-eval does it. To a source, a choice is a text of its own.
    """
    if voice.source_apart:
        choices = tuple(tuple(voice.encode(word)) for word in words)
        return tuple(voice.encode_prompt(text, special=special)), choices
    kept = text.rstrip(" ")
    start = voice.encode(kept, special=special)
    between = text[len(kept) :] + gap
    found = tuple(
        tuple(voice.encode(kept + between + word, special=special)[len(start) :]) for word in words
    )
    return tuple(start), found


def retell(
    plan: Plan, requests: Sequence[Request], stranger: Stranger
) -> tuple[Plan, tuple[Request, ...]]:
    """Return a task as a stranger reads it; a prompt that is too long loses its beginning."""
    options, limit = dict(plan.options), stranger.limit
    if "prefix_token" in options:
        options |= {
            "prefix_token": stranger.prefix_token,
            "max_length": min(limit, options["max_length"]),
        }
        if options.get("stride"):
            options["stride"] = min(options["stride"], options["max_length"])
    room = int(options.get("max_new_tokens", 0))
    return replace(plan, options=options), tuple(
        _retold(plan, request, stranger.voice, limit, room) for request in requests
    )


def _retold(plan: Plan, request: Request, voice: Voice, limit: int, room: int) -> Request:
    wording = Wording.of(request.wording)
    if plan.kind == "perplexity":
        return replace(request, prompt=tuple(voice.encode(wording.text)))
    text = wording.prompt(voice)
    if not wording.choices:
        ids = tuple(voice.encode_prompt(text, special=wording.special))
        return replace(request, prompt=ids[max(0, len(ids) + room - limit) :])
    prompt, choices = encode_choices(
        voice, text, wording.choices, gap=wording.gap, special=wording.special
    )
    room = max(map(len, choices))
    return replace(request, prompt=prompt[max(0, len(prompt) + room - limit) :], choices=choices)
