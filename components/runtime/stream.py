"""Token ids that come one by one, as text: whole characters only, and cut at a stop text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from components.runtime.batch import Decode

BROKEN = "\ufffd"
"""What a decoder writes for the bytes of a character that is not whole yet."""

Finish = Literal["stop", "length"]
"""Why an answer ended: the model or a stop text ended it, or there was no more room."""


@dataclass
class TextStream:
    """Turns ids into text that never has to be taken back.

    Joined, the pieces are `decode` of all ids, up to the first of the `stops` (which is not given).
    Text that may be the beginning of a stop is held until it is clear.
    """

    decode: Decode
    stops: Sequence[str] = ()
    stopped: bool = False
    _ids: list[int] = field(default_factory=list)
    _start: int = 0
    _shown: int = 0
    _held: str = ""

    def push(self, token: int) -> str:
        """Take one id and return the text that is certain now."""
        self._ids.append(token)
        return self._certain(self._fresh(last=False))

    def end(self) -> str:
        """Return what was held back, once no more ids come."""
        if self.stopped:
            return ""
        text = self._certain(self._fresh(last=True))
        text, self._held = text + ("" if self.stopped else self._held), ""
        return text

    def _fresh(self, *, last: bool) -> str:
        """Return the new text of the ids.

        Some decoders write a token differently at the very beginning, so a token is always read
        together with those shown last.
        """
        known = self.decode(self._ids[self._start : self._shown])
        whole = self.decode(self._ids[self._start :])
        if not last and (whole.endswith(BROKEN) or len(whole) <= len(known)):
            return ""
        self._start, self._shown = self._shown, len(self._ids)
        return whole[len(known) :]

    def _certain(self, text: str) -> str:
        self._held += text
        places = [at for at in (self._held.find(stop) for stop in self.stops if stop) if at >= 0]
        if places:
            self.stopped = True
            text, self._held = self._held[: min(places)], ""
            return text
        keep = max((_overlap(self._held, stop) for stop in self.stops if stop), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text


@dataclass
class Speech:
    """An answer on its way: read it once, piece by piece; `finish` says at its end why it ended."""

    prompt_tokens: int
    max_new_tokens: int
    ids: Iterator[int]
    text: TextStream
    tokens: int = 0
    finish: Finish | None = None

    def __iter__(self) -> Iterator[str]:
        for token in self.ids:
            self.tokens += 1
            if piece := self.text.push(token):
                yield piece
            if self.text.stopped:
                break
        if piece := self.text.end():
            yield piece
        ended = self.text.stopped or self.tokens < self.max_new_tokens
        self.finish = "stop" if ended else "length"


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that a stop begins with."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if stop.startswith(text[-n:])), 0)
