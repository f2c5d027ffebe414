"""Which rows are read together, and how many batches at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Any


def side_by_side(
    run: Callable[[list[int]], Any], batches: Iterable[list[int]], workers: int
) -> Iterator[Any]:
    """Yield `run` of every batch, in order; few results wait at a time, as logits are large."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Any]] = deque()
        for batch in batches:
            waiting.append(pool.submit(run, batch))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def batches(rows: Sequence[Sequence[int]], limit: int) -> Iterator[list[int]]:
    """Yield indices of rows of one length, of at most `limit` tokens together, or of one row."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for length, group in groupby(order, key=lambda index: len(rows[index])):
        same, size = list(group), max(1, limit // length)
        yield from (same[start : start + size] for start in range(0, len(same), size))


def alike(rows: Sequence[Sequence[int]], prefix: int, limit: int) -> Iterator[list[int]]:
    """Yield indices of rows by length, of at most `limit` tokens together when padded, or one."""
    group: list[int] = []
    for index in sorted(range(len(rows)), key=lambda index: len(rows[index])):
        if group and (len(group) + 1) * (prefix + len(rows[index])) > limit:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
