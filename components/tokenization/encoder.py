"""Texts → token ids, as the tokenizer gives them for the whole text at once."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from components.contracts.errors import ModelError
from components.tokenization.words import Span, WordCache

Marked = tuple[list[int], list[Span]]
"""Token ids, and stretches of them."""

PROVED = 100_000
"""So many characters are encoded both ways before remembered words are trusted."""

ANCHOR = "\n"


@dataclass
class Encoder:
    """Encodes with remembered words where that is exact, else with the tokenizer itself.

    `hf` is a transformers tokenizer; special tokens in a text are read as such, none is added.
    """

    hf: Any
    words: WordCache | None = None
    adds_space: bool = False
    unproved: int = field(default=PROVED, init=False)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        if not texts:
            return []
        words = self._trusted(texts)
        return words.encode(texts) if words else self._plain(texts)

    def encode_after(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Marked]:
        """Do as `encode_spans` for texts that stand behind others.

        Some tokenizers put a space before every text; behind another text none belongs there.
        """
        if not self.adds_space:
            return self.encode_spans(texts, spans)
        (anchor,) = self.encode([ANCHOR])
        moved = [[(a + len(ANCHOR), b + len(ANCHOR)) for a, b in wanted] for wanted in spans]
        n = len(anchor)
        return [
            (ids[n:], [(a - n, b - n) for a, b in inside])
            for ids, inside in self.encode_spans([ANCHOR + text for text in texts], moved)
        ]

    def encode_spans(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[Marked]:
        """Return the ids of each text, and the tokens that lie wholly inside each span of it.

        Raises `ModelError` when the tokenizer cannot tell where its tokens stand in a text.
        """
        words = self._trusted(texts)
        if words:
            return words.encode_spans(texts, spans)
        marked = [i for i, wanted in enumerate(spans) if wanted]
        plain = [i for i, wanted in enumerate(spans) if not wanted]
        found: dict[int, Marked] = {}
        for i, ids in zip(plain, self.encode([texts[i] for i in plain]), strict=True):
            found[i] = ids, []
        for i, one in zip(marked, self._encodings([texts[i] for i in marked]), strict=True):
            begins, ends = zip(*one.offsets, strict=True) if one.offsets else ((), ())
            found[i] = (
                one.ids,
                [(bisect_left(begins, a), bisect_right(ends, b)) for a, b in spans[i]],
            )
        return [found[i] for i in range(len(texts))]

    def _trusted(self, texts: Sequence[str]) -> WordCache | None:
        """Return the remembered words; the first texts of all put them to the test."""
        if self.words is not None and self.unproved > 0:
            few = list(islice(texts, 256))
            while len(few) > 1 and sum(map(len, few)) > self.unproved:
                few.pop()
            self.unproved -= sum(map(len, few)) + 1
            if self._plain(few) != self.words.encode(few):
                self.words = None
        return self.words

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        backend = getattr(self.hf, "backend_tokenizer", None)
        if backend is None:
            batch = self.hf(list(texts), add_special_tokens=False, verbose=False)
            slow: list[list[int]] = batch["input_ids"]
            return slow
        return [e.ids for e in backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def _encodings(self, texts: Sequence[str]) -> list[Any]:
        if not texts:
            return []
        backend = getattr(self.hf, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(
                "this tokenizer cannot tell where its tokens stand in a text, so the earlier "
                "answers of a conversation cannot be marked",
                fix="give the base model a tokenizer.json, or set completion_only_loss: true",
            )
        return list(backend.encode_batch(list(texts), add_special_tokens=False))


def make_encoder(hf: Any) -> Encoder:
    """Return the encoder of a transformers tokenizer."""
    backend = getattr(hf, "backend_tokenizer", None)
    if backend is None:
        return Encoder(hf, adds_space=_adds_space(hf))
    backend.no_truncation()
    backend.no_padding()
    _keep_offsets(backend)
    return Encoder(hf, WordCache.of(backend), _adds_space(hf))


def _adds_space(hf: Any) -> bool:
    """Say whether a text begins with the sign of a space that it does not have."""
    first = hf.convert_ids_to_tokens(hf("a", add_special_tokens=False)["input_ids"][:1])
    return bool(first) and first[0][:1] in ("▁", "Ġ")


def _keep_offsets(backend: Any) -> None:
    """Take out the part that adds special tokens and moves offsets past leading spaces."""
    from tokenizers.processors import Sequence as Steps

    backend.post_processor = Steps([])
