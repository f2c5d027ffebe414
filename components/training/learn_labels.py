"""A trainer that teaches an encoder and its head to give texts their labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import DataError, RecipeError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.tables import IGNORED
from components.contracts.task_types import SEQ_CLS
from components.training.collate import Inputs, move
from components.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch

    from components.training.loop import Collate, Loss, Trainer
    from components.training.rows import Row

DECODERS_ONLY: dict[str, Callable[[TrainingSettings], bool]] = {
    "packing": lambda s: s.packing,
    "torch_compile": lambda s: s.torch_compile,
    "load_in_4bit": lambda s: s.load_in_4bit,
    "load_in_8bit": lambda s: s.load_in_8bit,
    "lora_top_layers": lambda s: s.lora_top_layers is not None,
    "init_lora_weights: pissa": lambda s: s.pissa,
    "loss_type": lambda s: s.of_pairs,
    "distillation": lambda s: s.distillation is not None,
    "pruning": lambda s: s.pruning is not None,
}
"""Settings that an encoder has no use for, or that nobody has proved with one."""


@dataclass(frozen=True)
class LabelledRow:
    """Token ids [n] of a text, and the index of its label."""

    input_ids: NDArray[np.int64]
    target: int

    @property
    def trained(self) -> int:
        """What the loss is divided by: one label a row."""
        return 1

    @property
    def labels(self) -> NDArray[np.int64]:
        """No token is learned."""
        return np.full(len(self.input_ids), IGNORED)


@dataclass(eq=False)
class LabelledRows(Sequence[LabelledRow]):
    """Texts as token ids, with their labels."""

    ids: list[NDArray[np.int32]]
    targets: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> LabelledRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[LabelledRow]: ...

    def __getitem__(self, index: int | slice) -> LabelledRow | list[LabelledRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return LabelledRow(self.ids[index].astype(np.int64), self.targets[index])

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return list(map(len, self.ids))


def read_labelled(file: Path, limit: int | None = None) -> LabelledRows:
    """Return the rows of a split of the tokens artefact, the first `limit` of them.

    Raises `DataError` if a row has no label.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(file, columns=["input_ids", "target"]).slice(0, limit)
    targets = table["target"].to_pylist()
    if any(target < 0 for target in targets):
        raise DataError(
            f"row {1 + next(i for i, t in enumerate(targets) if t < 0)} of {file.name} has no "
            "label, but the base model is trained to give labels",
            fix="run the tokenize stage again",
        )
    return LabelledRows(
        [np.array(ids, np.int32) for ids in table["input_ids"].to_pylist()], targets
    )


def prepare_classifier(
    base: BaseModelFolder,
    tokens: Tokens,
    settings: TrainingSettings,
    context: Context,
    load: Callable[..., Any] | None = None,
) -> "Trainer":
    """Return a trainer at step 0: an adapter on the encoder, and its head trained whole.

    Weights are kept in fp32; products are in bf16 where the machine is fast at it. `load` takes the
    place of what loads the model where it is only looked at.

    Raises:
        DataError: there are no rows, or some have no label.
        RecipeError: a setting is for decoders only.
    """
    import torch

    from components.model.adapter import attach_adapter
    from components.model.classifier import load_classifier, padding_id
    from components.model.device import fast_dtype, keep_few_kernels, pick_device
    from components.training.loop import Trainer
    from components.training.precision import precision
    from components.training.rows import plan_epoch
    from components.training.train import plan_steps

    refuse(settings, SEQ_CLS)
    torch.manual_seed(settings.seed)
    keep_few_kernels()
    device = pick_device()
    dtype = precision(settings, fast_dtype(device))
    labels = [str(label) for label in tokens.facts["labels"]]
    loaded = (load or load_classifier)(base.model, labels)
    model = loaded.model if load is not None else loaded.model.to(device)
    adapted = attach_adapter(model, settings, SEQ_CLS, loaded.modules_to_save)
    make_ready(model, settings)
    rows = read_labelled(tokens.split("train"))
    if not len(rows):
        raise DataError("there is no row to train on", fix="look at the train split of the data")
    validation = read_labelled(tokens.split("validation"), settings.max_eval_samples)
    size = settings.per_device_train_batch_size
    collate = partial(pad_labelled, pad=padding_id(model), device=device)
    facts = {"task_type": SEQ_CLS, "labels": labels, "new_modules": list(loaded.untrained)}
    return Trainer(
        model=adapted,
        loss=cast("Loss", partial(label_loss, dtype=dtype)),
        collate=cast("Collate", collate),
        rows=cast("Sequence[Row]", rows),
        validation=cast("Sequence[Row]", validation),
        plan=plan_steps(settings, rows.lengths),
        validation_plan=plan_epoch(validation.lengths, size, 0, 0),
        settings=settings,
        events=context.events,
        save=lambda _: None,
        about=[lambda: facts],
    )


def refuse(settings: TrainingSettings, task_type: str) -> None:
    """Raise `RecipeError` naming every setting that is for decoders only."""
    found = [name for name, asked in DECODERS_ONLY.items() if asked(settings)]
    if found:
        raise RecipeError(
            f"training.{', training.'.join(found)}: not for model.task_type {task_type}",
            fix="leave it out, or train a decoder (model.task_type: CAUSAL_LM)",
        )


def make_ready(model: Any, settings: TrainingSettings) -> None:
    """Choose what saves memory, and on fast paths the matrix products that save time."""
    import torch

    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
        model.disable_input_require_grads()
    if settings.fast:
        torch.set_float32_matmul_precision("medium" if model.device.type == "cpu" else "high")


def pad_labelled(rows: Sequence[LabelledRow], pad: int, device: "torch.device") -> Inputs:
    """Stack texts [batch, longest], padded on the right; `labels` [batch] are the labels'."""
    width = max(len(row.input_ids) for row in rows)
    ids = np.full((len(rows), width), pad, np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row.input_ids)] = row.input_ids
        mask[place, : len(row.input_ids)] = 1
    arguments = {"input_ids": move(ids, device), "attention_mask": move(mask, device)}
    targets = np.array([row.target for row in rows], np.int64)
    return Inputs(arguments, move(targets, device), int(mask.sum()))


def label_loss(model: Any, inputs: Inputs, dtype: "torch.dtype") -> "torch.Tensor":
    """Return the summed cross-entropy of the labels in nats, products in `dtype`."""
    import torch

    mixed = dtype != torch.float32
    with torch.autocast(inputs.labels.device.type, dtype, enabled=mixed):
        logits = model(**inputs.arguments).logits
    return torch.nn.functional.cross_entropy(logits.float(), inputs.labels, reduction="sum")
