"""What clients send: OpenAI's keys, each one either obeyed or refused, never quietly ignored."""

import secrets
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.contracts.errors import did_you_mean
from components.runtime.generate import Generation
from components.serving.errors import RequestError, of_validation
from components.serving.limits import Limits

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "n": (1,),
    "parallel_tool_calls": (True, False),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
}
"""Keys of OpenAI's that this server cannot obey, and the values that ask for nothing (beside
null)."""

WITHOUT_EFFECT = {
    "metadata",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
}
"""Keys that say nothing about the answer."""


class StreamOptions(BaseModel):
    include_usage: bool = False


class Part(BaseModel):
    """A piece of a turn's content; only text is read."""

    type: Literal["text"]
    text: str


class Turn(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    def plain(self) -> dict[str, str]:
        """Return role and content as the chat template takes them."""
        role = "system" if self.role == "developer" else self.role
        content = self.content
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        return {"role": role, "content": text}


class Asked(BaseModel):
    """What both endpoints take. `temperature` is 0 unless given: what the gate has measured.

    `top_k` and `repetition_penalty` are additions to OpenAI's keys.
    """

    model_config = ConfigDict(extra="allow")

    model: str
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    repetition_penalty: float | None = Field(default=None, gt=0)
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    def wanted_tokens(self) -> tuple[str, int | None]:
        """Return the key that bounds the answer, and its value."""
        return "max_tokens", self.max_tokens

    def generation(self, room: int, limits: Limits) -> Generation:
        """Return how to answer, with at most `room` new tokens; raise `RequestError` beyond it."""
        key, tokens = self.wanted_tokens()
        if tokens is not None and tokens > limits.max_new_tokens:
            raise RequestError(
                f"{key} is {tokens}, but this server allows {limits.max_new_tokens}", param=key
            )
        if tokens is not None and tokens > room:
            raise RequestError(
                f"{key} is {tokens}, but prompt and answer must fit the model's context, "
                f"which has room for {room} more tokens",
                param=key,
                code="context_length_exceeded",
            )
        default = min(limits.default_new_tokens, limits.max_new_tokens)
        return Generation(
            max_new_tokens=min(tokens or default, room),
            temperature=self.temperature or 0.0,
            top_k=self.top_k or 0,
            top_p=self.top_p or 1.0,
            repetition_penalty=self.repetition_penalty or 1.0,
            seed=abs(self.seed) if self.seed is not None else secrets.randbits(62),
        )

    def stops(self) -> list[str]:
        """Return the texts that end the answer; raise `RequestError` for more than four."""
        found = [self.stop] if isinstance(self.stop, str) else list(self.stop or [])
        if len(found) > 4 or "" in found:
            raise RequestError("stop takes up to 4 texts, none of them empty", param="stop")
        return found

    @property
    def with_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(Asked):
    """`POST /v1/chat/completions`."""

    messages: list[Turn] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)

    def wanted_tokens(self) -> tuple[str, int | None]:
        if self.max_completion_tokens is not None:
            return "max_completion_tokens", self.max_completion_tokens
        return super().wanted_tokens()

    @property
    def top(self) -> int | None:
        """How many likeliest tokens to tell at each step; None tells no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(Asked):
    """`POST /v1/completions`: the prompt as it is, text or token ids, without a template."""

    prompt: str | list[str] | list[int]
    logprobs: int | None = Field(default=None, ge=0, le=5)

    @property
    def top(self) -> int | None:
        return self.logprobs


def read_request(kind: type[Asked], body: Mapping[str, Any]) -> Any:
    """Return the request; raise `RequestError` for keys that are wrong or cannot be obeyed."""
    try:
        asked = kind.model_validate(body)
    except ValidationError as error:
        raise of_validation(error) from error
    for key, value in (asked.model_extra or {}).items():
        _need_neutral(key, value, kind)
    return asked


def _need_neutral(key: str, value: Any, kind: type[Asked]) -> None:
    if key in WITHOUT_EFFECT:
        return
    if key not in NEUTRAL:
        raise RequestError(
            f"unknown key '{key}'{did_you_mean(key, [*kind.model_fields, *NEUTRAL])}",
            param=key,
            code="unknown_parameter",
        )
    if value is not None and value not in NEUTRAL[key]:
        raise RequestError(
            f"this server does not do '{key}'", param=key, code="unsupported_parameter"
        )
