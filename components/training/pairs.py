"""Pairs of answers behind one prompt, as training rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.contracts.errors import DataError
from components.contracts.tables import IGNORED
from components.training.collate import Inputs
from components.training.rows import READ_ROWS, Row

if TYPE_CHECKING:
    from components.training.preference_loss import PairInputs

COLUMNS = ["input_ids", "prompt_tokens", "answer_ids", "rejected_ids"]


@dataclass(frozen=True)
class Pair:
    """Both answers as rows of their own, trained on the answer alone.

    `reference` are their log-probabilities in nats under the model before training.
    """

    chosen: Row
    rejected: Row
    reference: NDArray[np.float32]

    @property
    def trained(self) -> int:
        """What the loss is divided by: it is a mean over pairs, not over tokens."""
        return 1

    @property
    def input_ids(self) -> NDArray[np.int64]:
        """Both rows, end to end."""
        return np.concatenate([self.chosen.input_ids, self.rejected.input_ids])

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels of both rows, end to end."""
        return np.concatenate([self.chosen.labels, self.rejected.labels])


@dataclass(eq=False)
class Pairs(Sequence[Pair]):
    """Pairs as flat ids: `prompts`, `chosen` and `rejected` [pairs] arrays of int32.

    `reference` [pairs, 2] is put in once it has been computed (not a number until then).
    """

    prompts: list[NDArray[np.int32]]
    chosen: list[NDArray[np.int32]]
    rejected: list[NDArray[np.int32]]
    reference: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.prompts)

    @overload
    def __getitem__(self, index: int) -> Pair: ...

    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...

    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        prompt = self.prompts[index]
        return Pair(
            answered(prompt, self.chosen[index]),
            answered(prompt, self.rejected[index]),
            self.reference[index],
        )

    @property
    def lengths(self) -> list[int]:
        """Tokens of each pair: the prompt counts twice, as it is read twice."""
        sizes = zip(self.prompts, self.chosen, self.rejected, strict=True)
        return [2 * len(prompt) + len(one) + len(other) for prompt, one, other in sizes]

    @property
    def longest(self) -> int:
        """Tokens of the longest row of any pair."""
        sizes = zip(self.prompts, self.chosen, self.rejected, strict=True)
        return max((len(p) + max(len(one), len(other)) for p, one, other in sizes), default=0)


def answered(prompt: NDArray[np.int32], answer: NDArray[np.int32]) -> Row:
    """Return prompt and answer as a row of which the answer is trained."""
    ids = np.concatenate([prompt, answer]).astype(np.int64)
    labels = ids.copy()
    labels[: len(prompt)] = IGNORED
    return Row(ids, labels)


def read_pairs(file: Path, limit: int | None = None) -> Pairs:
    """Return the pairs of a split of the tokens artefact, the first `limit` of them.

    Raises:
        DataError: a row has no rejected answer, its prompt or one of its answers is empty, or both
            answers are the same.
    """
    pairs = Pairs([], [], [], np.zeros((0, 2), np.float32))
    for row in _rows(file):
        if limit is not None and len(pairs) == limit:
            break
        prompt = row["input_ids"][: row["prompt_tokens"]]
        for name, ids in (("prompt", prompt), *((n, row[n]) for n in COLUMNS[2:])):
            if not ids:
                raise DataError(
                    f"row {len(pairs) + 1} of {file.name} has no {name}, but training.loss_type "
                    "learns from pairs of answers",
                    fix="use format: {kind: preference}, or training.loss_type: nll",
                )
        if row["answer_ids"] == row["rejected_ids"]:
            raise DataError(
                f"row {len(pairs) + 1} of {file.name}: chosen and rejected are the same tokens, so "
                "there is nothing to prefer",
                fix="take the row out of the data: the two differ in what cleaning removes",
            )
        pairs.prompts.append(np.array(prompt, np.int32))
        pairs.chosen.append(np.array(row["answer_ids"], np.int32))
        pairs.rejected.append(np.array(row["rejected_ids"], np.int32))
    pairs.reference = np.full((len(pairs), 2), np.nan, np.float32)
    return pairs


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    table = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
    for batch in table.iter_batches(batch_size=READ_ROWS, columns=COLUMNS):
        yield from batch.to_pylist()


def collate_pairs(
    pairs: Sequence[Pair], collate: Callable[[Sequence[Row]], Inputs]
) -> "PairInputs":
    """Lay both rows of every pair out as `collate` lays out any rows, one after the other."""
    import torch

    from components.training.preference_loss import PairInputs

    rows = [row for pair in pairs for row in (pair.chosen, pair.rejected)]
    inputs = collate(rows)
    reference = torch.from_numpy(np.concatenate([pair.reference for pair in pairs]))
    return PairInputs(
        inputs.arguments,
        inputs.labels,
        inputs.tokens,
        counts=[row.trained for row in rows],
        reference=reference.to(inputs.labels.device),
    )
