"""Lines → one table of `tokens_schema`, built from flat arrays, with the ledger beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.tables import IGNORED, tokens_schema
from components.tokenization.lines import Line
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenizer import Tokens

Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Ledger:
    """A batch of rows, one array a column of the ledger [rows].

    `needed` is the length that counts against `max_length`; `rewritten` are answers that inference
    would never be asked for as they stand; `without_bos` says that the row does not begin with the
    token that the tokenizer puts before every text.
    """

    length: Ints
    prompt_tokens: Ints
    answers: Ints
    trained_answers: Ints
    trained_tokens: Ints
    truncated_tokens: Ints
    eos_trained: Flags
    bos_doubled: Flags
    needed: Ints
    rewritten: Ints
    without_bos: Flags

    def __len__(self) -> int:
        return len(self.length)


@dataclass(frozen=True)
class Flat:
    """Rows end to end: ids [tokens], what is trained [tokens], where each row begins [rows + 1]."""

    ids: Ints
    trained: Flags
    starts: NDArray[np.int64]

    def row(self, index: int) -> tuple[Ints, Flags]:
        """Return ids and mask of one row."""
        place = slice(self.starts[index], self.starts[index + 1])
        return self.ids[place], self.trained[place]


def flatten(lines: Sequence[Line], settings: TokenizationSettings) -> Flat:
    """Lay lines end to end and say of each token whether it is trained.

    Nothing comes before the first token of a row to predict it from, so it never is.
    """
    parts = list(chain.from_iterable((line.head, line.tail) for line in lines))
    sizes = _sizes(parts)
    ids = _values(parts, int(sizes.sum()))
    starts = _starts(sizes.reshape(-1, 2).sum(1))
    trained = np.repeat(np.tile([False, True], len(lines)), sizes)
    for index, line in enumerate(lines):
        start = starts[index]
        tail = start + len(line.head)
        for begin, end in line.parts:
            trained[start + begin : start + end] = True
        if line.tail_parts is not None:
            trained[tail : starts[index + 1]] = False
            for begin, end in line.tail_parts:
                trained[tail + begin : tail + end] = True
    if not settings.trains_answers_only:
        trained[:] = True
    trained[starts[:-1]] = False
    return Flat(ids, trained, starts)


def make_ledger(
    lines: Sequence[Line], flat: Flat, tokens: Tokens, settings: TokenizationSettings
) -> Ledger:
    """Return the ledger: what is said of trained tokens is counted from the mask itself."""
    begins, ends = flat.starts[:-1], flat.starts[1:]
    counted = _starts(flat.trained)
    ending = flat.trained & np.isin(flat.ids, tokens.stop)
    eos = ending[ends - 1]
    tails = np.array([len(line.head) for line in lines], np.int64) + begins
    prompts = _ints(line.prompt_tokens for line in lines)
    trained_answers = ((counted[ends] > counted[tails]) & (prompts > 0)).astype(np.int32)
    for index, line in enumerate(lines):
        for begin, end in line.earlier:
            span = begins[index] + begin, begins[index] + end
            if counted[span[1]] > counted[span[0]]:
                trained_answers[index] += 1
                eos[index] &= ending[span[1] - 1]
    answers = _ints(line.answers for line in lines)
    return Ledger(
        length=np.diff(flat.starts).astype(np.int32),
        prompt_tokens=prompts,
        answers=answers,
        trained_answers=trained_answers if settings.trains_answers_only else answers,
        trained_tokens=(counted[ends] - counted[begins]).astype(np.int32)
        + _ints(line.targets for line in lines),
        truncated_tokens=_ints(line.cut for line in lines),
        eos_trained=eos,
        bos_doubled=_doubled(flat, tokens),
        needed=_ints(line.needed for line in lines),
        rewritten=_ints(line.rewritten for line in lines),
        without_bos=(flat.ids[begins] != tokens.bos) & tokens.adds_bos,
    )


def make_table(lines: Sequence[Line], flat: Flat, ledger: Ledger, batch: Any) -> Any:
    """Return the Arrow table of `lines`; `batch` holds their rows of the dataset table."""
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = np.where(flat.trained, flat.ids, np.int32(IGNORED))
    starts = pa.array(flat.starts.astype(np.int32))
    columns = {
        "id": batch["id"],
        "input_ids": pa.ListArray.from_arrays(starts, pa.array(flat.ids)),
        "labels": pa.ListArray.from_arrays(starts, pa.array(labels)),
        "answer_ids": _lists([line.answer for line in lines]),
        "rejected_ids": _lists([line.rejected for line in lines]),
        "choice_ids": _nested([line.choices for line in lines]),
        "target": batch["target"].cast(pa.int32()),
        "text_ids": _lists([line.text for line in lines]),
        "text_bytes": pc.binary_length(batch["text"]),
        "answer_spans": _lists([_spans(line) for line in lines]),
    }
    columns |= {name: pa.array(getattr(ledger, name)) for name in LEDGER}
    schema = tokens_schema()
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


LEDGER = (
    "length",
    "prompt_tokens",
    "answers",
    "trained_answers",
    "trained_tokens",
    "truncated_tokens",
    "eos_trained",
    "bos_doubled",
)
"""The columns of the ledger that are kept."""


def _doubled(flat: Flat, tokens: Tokens) -> Flags:
    """Say which rows hold the beginning twice, one right behind the other.

    Where it is the end-of-sequence token as well, only the very beginning tells.
    """
    if tokens.bos is None:
        return np.zeros(len(flat.starts) - 1, np.bool_)
    is_bos = flat.ids == tokens.bos
    twice = np.zeros(len(flat.ids), np.bool_)
    twice[1:] = is_bos[1:] & is_bos[:-1]
    twice[flat.starts[:-1]] = False  # the token before belongs to another row
    if tokens.bos in tokens.stop:
        second = np.zeros(len(flat.ids), np.bool_)
        second[np.minimum(flat.starts[:-1] + 1, len(flat.ids) - 1)] = True
        twice &= second
    counted = _starts(twice)
    return counted[flat.starts[1:]] > counted[flat.starts[:-1]]


def _spans(line: Line) -> list[int]:
    last = [(len(line.head), len(line.head) + len(line.tail))] if line.prompt_tokens else []
    return list(chain.from_iterable([*line.earlier, *last]))


def _lists(rows: Sequence[Sequence[int]]) -> Any:
    import pyarrow as pa

    starts = _starts(_sizes(rows))
    values = _values(rows, int(starts[-1]))
    return pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), pa.array(values))


def _nested(rows: Sequence[Sequence[Sequence[int]]]) -> Any:
    import pyarrow as pa

    starts = _starts(_sizes(rows)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(starts), _lists(list(chain.from_iterable(rows))))


def _sizes(rows: Sequence[Sequence[Any]]) -> NDArray[np.int64]:
    return np.fromiter(map(len, rows), np.int64, len(rows))


def _starts(sizes: NDArray[Any]) -> NDArray[np.int64]:
    """Return 0 and the sums of the first one, two, … sizes."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


def _values(rows: Sequence[Sequence[int]], count: int) -> Ints:
    return np.fromiter(chain.from_iterable(rows), np.int32, count)


def _ints(values: Any) -> Ints:
    return np.fromiter(values, np.int32)
