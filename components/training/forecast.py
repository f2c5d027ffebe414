"""What a training will need, told before it is paid for: rows, tokens, steps, memory, disk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.contracts.events import Context, Silent
from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.task_types import (
    CAUSAL_LM,
    MASKED_LM,
    SEQ_2_SEQ_LM,
    SEQ_CLS,
    task_type_of,
)
from components.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch

    from components.training.loop import Trainer
    from components.training.rows import Batch

HOLES = 0.9
"""On CPU, holes in the heap after a whole run as a share of the activations, and … """

KERNELS = 240_000_000
"""… bytes that loading and the kernels of oneDNN leave: both measured (docs/training.md)."""

FRAGMENTS = 0.1
"""On CUDA, what torch's allocator reserves beyond its tensors, as a share of the activations."""

FOUR_BIT = 0.5 + 0.0161
"""Bytes a weight in 4 bits, with its double-quantised scales (Dettmers et al. 2023)."""


@dataclass(frozen=True)
class Memory:
    """Bytes by what holds them.

    `activations` is the largest micro-batch's peak in forward and backward. `copies` are the best
    adapter and the averaged one. `runtime` is what the libraries take (CPU only).
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    copies: int
    activations: int
    allocator: int
    runtime: int

    @property
    def tensors(self) -> int:
        """Bytes of all tensors at the peak."""
        fixed = self.weights + self.adapter + self.gradients + self.optimizer + self.copies
        return fixed + self.activations

    @property
    def needed(self) -> int:
        """Bytes that the process (CPU) or the device (CUDA) must have."""
        return self.tensors + self.allocator + self.runtime


@dataclass(frozen=True)
class Forecast:
    """A run of the recipe as it would be. `tokens` counts every epoch, without padding.

    `memory` is that of one of the `processes` that train together.
    """

    rows: int
    tokens: int
    tokens_an_epoch: int
    steps: int
    micro_batches: int
    largest_batch: int
    largest_batch_rows: int
    evaluations: int
    validation_tokens: int
    checkpoint_bytes: int
    disk_bytes: int
    parameters: int
    trainable_parameters: int
    device: str
    dtype: str
    processes: int
    memory: Memory

    @property
    def needed(self) -> int:
        """Bytes that the machine must have (CPU: for all processes), or each device (CUDA)."""
        return self.memory.needed * (self.processes if self.device == "cpu" else 1)


def forecast(
    base: BaseModelFolder, tokens: Tokens, settings: TrainingSettings, runtime: int
) -> Forecast:
    """Return what training would need, from the very planner and the shapes of the very model.

    No weight is read and nothing is computed. `runtime` is the resident size in bytes of a process
    that has imported everything.
    """
    from components.model.device import pick_device
    from components.model.full import bare

    trainer = shapes_only(base, tokens, settings)
    lengths = [len(row.input_ids) for row in trainer.rows]
    # The rows of a masked-language model count on from epoch to epoch.
    batches = [tuple(row % len(lengths) for row in b) for step in trainer.plan for b in step]
    largest = max(batches, key=lambda batch: area(batch, lengths))
    saved = checkpoint_bytes(trainer)
    device = pick_device()
    return Forecast(
        rows=len(lengths),
        tokens=sum(lengths[row] for batch in batches for row in batch),
        tokens_an_epoch=sum(lengths),
        steps=len(trainer.plan),
        micro_batches=len(batches),
        largest_batch=sum(lengths[row] for row in largest),
        largest_batch_rows=len(largest),
        evaluations=evaluations(trainer),
        validation_tokens=sum(len(row.input_ids) for row in trainer.validation),
        checkpoint_bytes=saved,
        disk_bytes=saved * (settings.save_total_limit + 1) + trainable_bytes(trainer),
        parameters=sum(p.numel() for p in trainer.model.parameters()),
        trainable_parameters=sum(p.numel() for p in trainer.trainable.values()),
        device=device.type,
        dtype=str(bare(trainer.model).dtype).removeprefix("torch."),
        processes=settings.num_processes,
        memory=memory_of(trainer, candidates(batches, lengths), settings, device, runtime),
    )


def shapes_only(base: BaseModelFolder, tokens: Tokens, settings: TrainingSettings) -> "Trainer":
    """Return the trainer of a run on a model without numbers."""
    from components.training.train import prepare

    numbers = {"load_in_4bit": False, "load_in_8bit": False, "init_lora_weights": True}
    plain = settings.model_copy(update=numbers)
    nowhere = Context(Path(), Path(), Silent())
    load = SHAPES[task_type_of(base)](settings)
    return prepare(base, tokens, plain, nowhere, load=load)


def decoder_shapes(settings: TrainingSettings) -> "Callable[..., Any]":
    return partial(load_shapes, quantized_as=settings.wanted)


def classifier_shapes(settings: TrainingSettings) -> "Callable[..., Any]":
    del settings
    from components.model.classifier import load_shapes_only

    return load_shapes_only


def seq2seq_shapes(settings: TrainingSettings) -> "Callable[..., Any]":
    del settings
    from components.model.seq2seq import load_shapes_only

    return load_shapes_only


def masked_shapes(settings: TrainingSettings) -> "Callable[..., Any]":
    del settings
    from components.model.masked import load_shapes_only

    return load_shapes_only


SHAPES: "dict[str, Callable[[TrainingSettings], Callable[..., Any]]]" = {
    CAUSAL_LM: decoder_shapes,
    MASKED_LM: masked_shapes,
    SEQ_2_SEQ_LM: seq2seq_shapes,
    SEQ_CLS: classifier_shapes,
}
"""How a model of each kind is made without numbers."""


def load_shapes(folder: Path, *, dtype: "torch.dtype", quantized_as: bool = False, **_: Any) -> Any:
    """Return the causal model in `folder` on the meta device; only its config is read.

    Raises:
        ModelError: the folder holds no model that transformers knows.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    class Quantized(torch.nn.Linear):
        """Stands for a quantised layer: no fast path takes it for a plain one."""

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no causal language model: {error}") from error
    model.config.use_cache = False
    for module in model.modules() if quantized_as else ():
        if type(module) is torch.nn.Linear and module is not model.get_output_embeddings():
            module.__class__ = Quantized
    return model


def area(batch: "Batch", lengths: Sequence[int]) -> int:
    """Return the tokens of a batch with all rows as long as the longest."""
    return len(batch) * max(lengths[row] for row in batch)


def candidates(batches: "list[Batch]", lengths: Sequence[int]) -> "list[Batch]":
    """Return the batches that may need the most memory: by padded and by real tokens."""
    padded = max(batches, key=lambda batch: area(batch, lengths))
    real = max(batches, key=lambda batch: sum(lengths[row] for row in batch))
    return list(dict.fromkeys([padded, real]))


def memory_of(
    trainer: "Trainer",
    batches: "list[Batch]",
    settings: TrainingSettings,
    device: "torch.device",
    runtime: int,
) -> Memory:
    """Return the memory of a step with the largest of `batches`, in each process.

    With FSDP a process keeps its part of what is trained, and of two blocks the whole: the one at
    work and the one fetched ahead.
    """
    activations = max(peaks(trainer, batches))
    trained = trainable_bytes(trainer)
    part, whole = trained, 0
    if settings.fsdp:
        part = trained // settings.num_processes
        whole = 2 * largest_block_bytes(trainer)
    copies = bool(settings.eval_steps and trainer.validation) + bool(settings.average_last)
    on_cpu = device.type == "cpu"
    return Memory(
        weights=weight_bytes(trainer, settings),
        adapter=part + whole,
        gradients=part,
        optimizer=2 * part,
        copies=copies * trained,
        activations=activations,
        allocator=int(activations * (HOLES if on_cpu else FRAGMENTS)),
        runtime=runtime + KERNELS if on_cpu else 0,
    )


def peaks(trainer: "Trainer", batches: "list[Batch]") -> Iterator[int]:
    """Yield the bytes that each micro-batch has alive at most, beyond the model."""
    from components.training.tracing import traced_peak

    trainer.model.train()
    for batch in batches:
        inputs = trainer.collate([trainer.rows[row] for row in batch])
        yield traced_peak(trainer.model, lambda: trainer.loss(trainer.model, inputs))  # noqa: B023


def weight_bytes(trainer: "Trainer", settings: TrainingSettings) -> int:
    """Return the bytes of the frozen weights, quantised as the settings say.

    Of a quantised model only the linear layers are; peft keeps the rest in fp32.
    """
    import torch

    frozen = {p for p in trainer.model.parameters() if not p.requires_grad}
    if not settings.wanted:
        return sum(p.numel() * p.element_size() for p in frozen)
    head = trainer.model.get_output_embeddings()
    linear = {
        m.weight
        for m in trainer.model.modules()
        if isinstance(m, torch.nn.Linear) and m is not head and m.weight in frozen
    }
    width = FOUR_BIT if settings.load_in_4bit else 1
    return int(sum(p.numel() * (width if p in linear else 4) for p in frozen))


def largest_block_bytes(trainer: "Trainer") -> int:
    """Return the bytes of the largest block of a list of blocks in the model."""
    import torch

    blocks = (
        block
        for module in trainer.model.modules()
        if isinstance(module, torch.nn.ModuleList)
        for block in module
    )
    sizes = (sum(p.numel() * p.element_size() for p in block.parameters()) for block in blocks)
    return max(sizes, default=0)


def trainable_bytes(trainer: "Trainer") -> int:
    return sum(p.numel() * p.element_size() for p in trainer.trainable.values())


def checkpoint_bytes(trainer: "Trainer") -> int:
    """Return the size of a checkpoint: adapter, two moments, the best and the averaged adapter."""
    settings = trainer.settings
    parts = 3 + bool(settings.eval_steps) + bool(settings.average_last)
    return parts * trainable_bytes(trainer)


def evaluations(trainer: "Trainer") -> int:
    """Return how often the validation split is measured."""
    every, steps = trainer.settings.eval_steps, len(trainer.plan)
    if not every or not trainer.validation:
        return 0
    return steps // every + (steps % every > 0)
