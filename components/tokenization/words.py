"""Encoding by remembered words: exactly the tokenizer's ids, several times sooner.

Most byte-level tokenizers cut a text into words before they merge, and no merge crosses a cut. So
the ids of a text are those of its words, and a word met before need not be encoded again. That
holds only where a cut is certain: beside a special token, before a single space that stands
between two visible characters, and behind the letters of a word. `WordCache.of` says for which
tokenizers it is certain.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any

Ids = Sequence[int]
Span = tuple[int, int]

CUT = re.compile(r"(?= [!-~\w])(?<=[!-~\w])|(?=[\n!-&(-/:-@\[-`{-~])(?<=[A-Za-z])")
r"""Before a lone space between visible characters (`\w` holds no white space, and no accent that
could be composed with what stands before it), and between an ASCII letter and a line break or a
mark; not the apostrophe, which may belong to the letters before it."""

_CONTRACTIONS = r"'s|'t|'re|'ve|'m|'ll|'d"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"

CUTTING = frozenset(
    {
        # GPT-2, Llama 3, Qwen, o200k: no match runs on over a space, or from letters to a mark.
        rf"{_CONTRACTIONS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+",
        rf"(?i:{_CONTRACTIONS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}",
        rf"(?i:{_CONTRACTIONS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+(?i:{_CONTRACTIONS})?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*(?i:{_CONTRACTIONS})?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    }
)
"""The patterns of pre-tokenizers that always cut there."""

MOST_WORDS = 200_000
MOST_SEGMENTS, LONGEST_SEGMENT = 10_000, 1_000
GROUP = 64
"""Unknown words encoded in one call: the cost of a call is shared."""


class WordCache:
    """Ids of words met before. Its memory is bounded: when full, it forgets and begins anew."""

    def __init__(self, backend: Any, special: Iterable[str]) -> None:
        self._backend = backend
        self._special = sorted(special, key=lambda token: (-len(token), token))
        alternatives = "|".join(map(re.escape, self._special))
        self._split = re.compile(f"({alternatives})").split
        self._inside: dict[tuple[str, int], Span] = {}
        self._seen: set[str] = set()
        self._again: dict[str, list[str]] = {}
        self._known: dict[str, Ids] = {}
        self._forget()

    @classmethod
    def of(cls, backend: Any) -> "WordCache | None":
        """Return a cache for a `tokenizers.Tokenizer`, or None where cuts are not certain."""
        added = list(backend.get_added_tokens_decoder().values())
        normalizer = _state(backend.normalizer)
        certain = (
            type(backend.model).__name__ == "BPE"
            and not backend.model.dropout
            and normalizer in (None, {"type": "NFC"})
            and _cuts(_state(backend.pre_tokenizer))
            and added
            and not any(t.lstrip or t.rstrip or t.single_word or not t.content for t in added)
            and len({t.normalized for t in added}) == 1
            and not (normalizer and added[0].normalized)
        )
        return cls(backend, [token.content for token in added]) if certain else None

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        known = self._words(texts)
        get = self._known.__getitem__
        return [list(chain.from_iterable(map(get, words))) for words in known]

    def encode_spans(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> list[tuple[list[int], list[Span]]]:
        """Return the ids of each text, and the tokens that lie wholly inside each span of it."""
        get, found = self._known.__getitem__, []
        for words, wanted in zip(self._words(texts), spans, strict=True):
            pieces = list(map(get, words))
            inside = self._token_spans(words, pieces, wanted) if wanted else []
            found.append((list(chain.from_iterable(pieces)), inside))
        return found

    def _words(self, texts: Sequence[str]) -> list[list[str]]:
        if len(self._known) > MOST_WORDS:
            self._forget()
        words = [self._cut(text) for text in texts]
        self._learn(set(chain.from_iterable(words)) - self._known.keys())
        get = self._known.__getitem__
        for part, pieces in self._again.items():  # from now on one look-up gives all of it
            self._known[part] = tuple(chain.from_iterable(map(get, pieces)))
        self._again.clear()
        return words

    def _cut(self, text: str) -> list[str]:
        words: list[str] = []
        for place, part in enumerate(self._split(text)):
            if place % 2:
                words.append(part)
            elif part:
                words += self._segment(part)
        return words

    def _segment(self, part: str) -> list[str]:
        """Cut what stands between special tokens; what comes again is remembered whole."""
        if part in self._known:
            return [part]
        words = CUT.split(part)
        if part in self._seen:
            self._again[part] = words
        elif len(part) <= LONGEST_SEGMENT:
            if len(self._seen) >= MOST_SEGMENTS:
                self._seen.clear()
            self._seen.add(part)
        return words

    def _learn(self, words: set[str]) -> None:
        unknown = sorted(words)
        groups = [unknown[i : i + GROUP] for i in range(0, len(unknown), GROUP)]
        mark = self._special[0]
        (end,) = self._known[mark]
        joined = [mark.join(group) for group in groups]
        encoded = self._backend.encode_batch_fast(joined, add_special_tokens=False)
        for group, one in zip(groups, encoded, strict=True):
            self._known.update(zip(group, _split_at(one.ids, end, len(group)), strict=True))

    def _forget(self) -> None:
        self._seen.clear()
        encoded = self._backend.encode_batch_fast(self._special, add_special_tokens=False)
        self._known = {t: tuple(e.ids) for t, e in zip(self._special, encoded, strict=True)}

    def _token_spans(
        self, words: Sequence[str], pieces: Sequence[Ids], spans: Sequence[Span]
    ) -> list[Span]:
        chars = [0, *accumulate(map(len, words))]
        tokens = [0, *accumulate(map(len, pieces))]

        def place(at: int) -> Span:
            word = bisect_right(chars, at) - 1
            if at == chars[word]:
                return tokens[word], tokens[word]
            before, after = self._within(words[word], at - chars[word])
            return tokens[word] + before, tokens[word] + after

        return [(place(start)[1], place(end)[0]) for start, end in spans]

    def _within(self, word: str, at: int) -> Span:
        """Return how many tokens end by character `at`, and which is the first to begin there."""
        if (word, at) not in self._inside:
            if len(self._inside) > MOST_SEGMENTS:
                self._inside.clear()
            begins, ends = zip(
                *self._backend.encode(word, add_special_tokens=False).offsets, strict=True
            )
            self._inside[word, at] = bisect_right(ends, at), bisect_left(begins, at)
        return self._inside[word, at]


def _state(part: Any) -> Any:
    """Return the settings of a part of a tokenizer."""
    return None if part is None else json.loads(part.__getstate__())


def _cuts(state: Any) -> bool:
    """Say whether a pre-tokenizer always cuts where `CUT` does."""
    if state is None:
        return False
    parts = state["pretokenizers"] if state["type"] == "Sequence" else [state]
    kinds = [part["type"] for part in parts]
    if "ByteLevel" not in kinds or not set(kinds) <= {"ByteLevel", "Digits", "Split"}:
        return False
    byte_level = parts[kinds.index("ByteLevel")]
    splits = [part for part in parts if part["type"] == "Split"]
    return (
        not byte_level["add_prefix_space"]
        and all(_is_known(split) for split in splits)
        and bool(splits or byte_level["use_regex"])
    )


def _is_known(split: Any) -> bool:
    return (
        split["pattern"].get("Regex") in CUTTING
        and split["behavior"] == "Isolated"
        and not split["invert"]
    )


def _split_at(ids: list[int], mark: int, count: int) -> Iterator[Ids]:
    """Yield what stands between marks: tuples, which the garbage collector need not look into."""
    start = 0
    for _ in range(count - 1):
        end = ids.index(mark, start)
        yield tuple(ids[start:end])
        start = end + 1
    yield tuple(ids[start:])
