"""What clients get: OpenAI's objects, whole or as the pieces of a stream."""

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from components.runtime.text import TextModel
from components.serving.engine import Said

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Reply:
    """One answer's frame: what all its objects have in common."""

    chat: bool
    title: str
    model: TextModel
    prompt_tokens: int
    logprobs: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, text: str, said: Sequence[Said], finish: str) -> dict[str, Any]:
        """Return the object of an answer that was not streamed."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "logprobs": self._told(said)}
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            choice["text"] = text
        return {**self._frame(stream=False), "choices": [choice], "usage": self.usage(len(said))}

    def piece(
        self,
        text: str,
        said: Sequence[Said] = (),
        finish: str | None = None,
        *,
        first: bool = False,
    ) -> dict[str, Any]:
        """Return one object of a stream."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "logprobs": self._told(said)}
        if self.chat:
            role = {"role": "assistant"} if first else {}
            choice["delta"] = {**role, **({"content": text} if text or first else {})}
        else:
            choice["text"] = text
        return {**self._frame(stream=True), "choices": [choice]}

    def last(self, tokens: int) -> dict[str, Any]:
        """Return the object with the usage that ends a stream."""
        return {**self._frame(stream=True), "choices": [], "usage": self.usage(tokens)}

    def usage(self, tokens: int) -> dict[str, int]:
        total = self.prompt_tokens + tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": total,
        }

    def _frame(self, *, stream: bool) -> dict[str, Any]:
        kind = "text_completion"
        if self.chat:
            kind = "chat.completion.chunk" if stream else "chat.completion"
        prefix = "chatcmpl" if self.chat else "cmpl"
        return {
            "id": f"{prefix}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.title,
        }

    def _told(self, said: Sequence[Said]) -> dict[str, Any] | None:
        if not self.logprobs or not said:
            return None
        if self.chat:
            return {"content": [self._entry(one) for one in said], "refusal": None}
        return {
            "tokens": [self._text(one.token) for one in said],
            "token_logprobs": [one.logprob for one in said],
            "top_logprobs": [{self._text(at): value for at, value in one.top} for one in said],
        }

    def _entry(self, said: Said) -> dict[str, Any]:
        top = [self._one(token, logprob) for token, logprob in said.top]
        return {**self._one(said.token, said.logprob), "top_logprobs": top}

    def _one(self, token: int, logprob: float | None) -> dict[str, Any]:
        text = self._text(token)
        whole = "\ufffd" not in text  # a part of a character has no text of its own
        return {
            "token": text,
            "logprob": logprob,
            "bytes": list(text.encode()) if whole else None,
        }

    def _text(self, token: int) -> str:
        return str(self.model.tokenizer.decode([token], skip_special_tokens=False))


def event(body: Any) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"
