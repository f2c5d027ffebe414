"""A trainer that teaches an encoder to tell hidden tokens, others in every epoch."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import DataError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.tables import IGNORED
from components.contracts.task_types import MASKED_LM
from components.model.masking import Masking
from components.training.collate import Inputs, move
from components.training.learn_labels import make_ready, refuse
from components.training.rows import Batch, Rows
from components.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch

    from components.training.loop import Collate, Loss, Trainer
    from components.training.rows import Row

VALIDATION = 2**31
"""Stands for the epoch of validation rows: they are always hidden alike."""


@dataclass(frozen=True)
class MaskedRow:
    """What is read of a text [n], and the hidden tokens [n]: `IGNORED` where none is asked for."""

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]

    @property
    def trained(self) -> int:
        """Tokens that give a loss."""
        return int((self.labels != IGNORED).sum())


@dataclass(frozen=True, eq=False)
class MaskedRows(Sequence[MaskedRow]):
    """Texts whose hidden tokens are drawn when they are asked for.

    Row i of epoch e (from 0) has the index e * rows + i: so the place in the plan says what is
    hidden, and a run that was cut off goes on with the same.
    """

    rows: Rows
    masking: Masking
    seed: int
    epoch: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> MaskedRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[MaskedRow]: ...

    def __getitem__(self, index: int | slice) -> MaskedRow | list[MaskedRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        epoch, row = divmod(index, len(self.rows))
        ids = self.rows[row].input_ids
        return MaskedRow(*self.masking.hide(ids, self.seed, self.epoch + epoch, row))

    def __iter__(self) -> Iterator[MaskedRow]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return self.rows.lengths


def prepare_masked(
    base: BaseModelFolder,
    tokens: Tokens,
    settings: TrainingSettings,
    context: Context,
    load: Callable[..., Any] | None = None,
) -> "Trainer":
    """Return a trainer at step 0: an adapter on the encoder and on the linear layers of its head.

    Weights are kept in fp32; products are in bf16 where the machine is fast at it. `load` takes the
    place of what loads the model where it is only looked at.

    Raises:
        DataError: there are no rows.
        RecipeError: a setting is for decoders only.
    """
    import torch

    from components.model.adapter import attach_adapter
    from components.model.classifier import padding_id
    from components.model.device import fast_dtype, keep_few_kernels, pick_device
    from components.model.masked import load_masked
    from components.training.loop import Trainer
    from components.training.precision import precision
    from components.training.rows import plan_epoch, read_rows

    refuse(settings, MASKED_LM)
    torch.manual_seed(settings.seed)
    keep_few_kernels()
    device = pick_device()
    dtype = precision(settings, fast_dtype(device))
    model = (load or load_masked)(base.model, device=device)
    adapted = attach_adapter(model, settings, None)
    make_ready(model, settings)
    masking = masking_of(tokens, settings)
    rows = MaskedRows(read_rows(tokens.split("train")), masking, settings.seed)
    if not len(rows):
        raise DataError("there is no row to train on", fix="look at the train split of the data")
    validation = MaskedRows(
        read_rows(tokens.split("validation"), settings.max_eval_samples),
        masking,
        settings.seed,
        VALIDATION,
    )
    size = settings.per_device_train_batch_size
    return Trainer(
        model=adapted,
        loss=cast("Loss", partial(hidden_loss, dtype=dtype)),
        collate=cast("Collate", partial(pad_texts, pad=padding_id(model), device=device)),
        rows=cast("Sequence[Row]", rows),
        validation=cast("Sequence[Row]", validation),
        plan=plan_masked(settings, rows.lengths),
        validation_plan=plan_epoch(validation.lengths, size, 0, 0),
        settings=settings,
        events=context.events,
        save=lambda _: None,
        about=[lambda: {"task_type": MASKED_LM}],
    )


def masking_of(tokens: Tokens, settings: TrainingSettings) -> Masking:
    """Return what hides tokens in training."""
    return Masking(
        mask_token=int(tokens.facts["mask_token"]),
        vocabulary=int(tokens.facts["vocabulary_size"]),
        special=frozenset(tokens.facts["special_tokens"]),
        mlm_probability=settings.mlm_probability,
        mask_replace_prob=settings.mask_replace_prob,
        random_replace_prob=settings.random_replace_prob,
    )


def plan_masked(settings: TrainingSettings, lengths: list[int]) -> list[list[Batch]]:
    """Return the plan of `plan_steps` with indices that say the epoch too: see `MaskedRows`."""
    from components.training.train import plan_steps

    seen: Counter[int] = Counter()

    def numbered(row: int) -> int:
        seen[row] += 1
        return row + (seen[row] - 1) * len(lengths)

    plan = plan_steps(settings, lengths)
    return [[tuple(numbered(row) for row in batch) for batch in step] for step in plan]


def pad_texts(rows: Sequence[MaskedRow], pad: int, device: "torch.device") -> Inputs:
    """Stack texts and labels [batch, longest], padded on the right."""
    width = max(len(row.input_ids) for row in rows)
    ids = np.full((len(rows), width), pad, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    labels = np.full((len(rows), width), IGNORED, np.int64)
    for place, row in enumerate(rows):
        length = len(row.input_ids)
        ids[place, :length], mask[place, :length] = row.input_ids, 1
        labels[place, :length] = row.labels
    arguments = {"input_ids": move(ids, device), "attention_mask": move(mask, device)}
    return Inputs(arguments, move(labels, device), int(mask.sum()))


def hidden_loss(model: Any, inputs: Inputs, dtype: "torch.dtype") -> "torch.Tensor":
    """Return the summed cross-entropy of the hidden tokens in nats, products in `dtype`."""
    import torch

    mixed = dtype != torch.float32
    with torch.autocast(inputs.labels.device.type, dtype, enabled=mixed):
        logits = model(**inputs.arguments).logits
    return torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1),
        inputs.labels.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )
