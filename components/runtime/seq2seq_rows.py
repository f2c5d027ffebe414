"""Rows as sources and targets of an encoder-decoder, in batches."""

from collections.abc import Iterator, Sequence

Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""A source, and what the decoder reads: its first token and the target without the last."""

CHUNK = 2048
"""Tokens of one run, padding counted: sources and targets together."""

KEPT = 512
"""Positions whose logits one run gives, padding counted: 512 x vocabulary x 4 bytes."""


def parted(row: Sequence[int], keep: int, start: int) -> Pair:
    """Return source and decoder's input of a row whose last `keep - 1` tokens are target.

    The logits of the decoder's `keep` inputs are those of the places that a decoder alone would
    give for the row's last `keep` tokens: behind the source comes the first of the target.
    """
    cut = len(row) - (keep - 1)
    return tuple(row[:cut]), (start, *row[cut:])


def chunks(pairs: Sequence[Pair]) -> Iterator[list[int]]:
    """Yield indices of pairs of like length, as many at a time as `CHUNK` and `KEPT` allow.

    Pairs of one source stand together. The same pairs always make the same chunks: what a row is
    padded to is part of its numbers.
    """
    order = sorted(range(len(pairs)), key=lambda at: (*map(len, pairs[at]), pairs[at]))
    group: list[int] = []
    longest = [0, 0]
    for at in order:
        sizes = list(map(len, pairs[at]))
        most = [max(*both) for both in zip(longest, sizes, strict=True)]
        rows = len(group) + 1
        if group and (rows * sum(most) > CHUNK or rows * most[1] > KEPT):
            yield group
            group, most = [], sizes
        group.append(at)
        longest = most
    if group:
        yield group
