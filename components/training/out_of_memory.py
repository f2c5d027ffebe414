"""Out of memory in a step: cut its micro-batches in halves and take the same step again.

The loss is summed and divided by the tokens of the whole step, so any cut of a step gives the same
loss and gradient up to rounding.
"""

import gc
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from components.contracts.errors import ModelError
from components.training import memory
from components.training.random_state import put_back, random_state
from components.training.rows import Row

T = TypeVar("T")
Batches = list[Sequence[Row]]

MESSAGES = (
    "can't allocate memory",  # the CPU allocator on Linux
    "DefaultCPUAllocator",  # the same elsewhere
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""How errors that are not of their own class tell that memory has run out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory has run out, on the CPU or on a device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in MESSAGES)


def size(batch: Sequence[Row]) -> int:
    """Return the tokens of a micro-batch with all rows as long as the longest."""
    return len(batch) * max(len(row.input_ids) for row in batch)


def cut(batches: Batches, most: int | None) -> Batches:
    """Return `batches` halved until each has `size` of at most `most` or a single row."""
    if most is None:
        return batches
    small: Batches = []
    for batch in batches:
        if size(batch) <= most or len(batch) == 1:
            small.append(batch)
        else:
            half = (len(batch) + 1) // 2
            small += cut([batch[:half], batch[half:]], most)
    return small


def halving(
    attempt: Callable[[Batches], T],
    batches: Batches,
    most: int | None,
    let_go: Callable[[], None],
) -> tuple[T, int | None]:
    """Return `attempt(batches)` and the largest `size` allowed (`most`), smaller after a failure.

    When memory runs out, `let_go` must drop what the attempt left behind; the random state is put
    back, the micro-batches are halved and the attempt is repeated with the same rows.

    Raises:
        ModelError: memory ran out with a single row in every micro-batch.
    """
    while True:
        batches = cut(batches, most)
        before = random_state()
        try:
            return attempt(batches), most
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            most = halved(batches, error)
        # Out of the except block: the traceback, and so the failed step's tensors, are gone.
        let_go()
        put_back(before)


def once(attempt: Callable[[Batches], T], batches: Batches, number: int) -> T:
    """Return `attempt(batches)`; raise `ModelError` if step `number` runs out of memory."""
    try:
        return attempt(batches)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            f"training step {number} ran out of memory: {str(error).splitlines()[:1]}",
            fix="set training.auto_find_batch_size: true, or lower per_device_train_batch_size",
        ) from error


def halved(batches: Batches, error: BaseException) -> int:
    """Return half the size of the largest micro-batch that can still be cut."""
    several = [size(batch) for batch in batches if len(batch) > 1]
    if not several:
        longest = max(size(batch) for batch in batches)
        raise ModelError(
            f"out of memory with one row of {longest} tokens: {str(error).splitlines()[:1]}",
            fix="lower tokenization.max_length, or set training.gradient_checkpointing: true, "
            "training.load_in_4bit: true or training.lora_top_layers",
        ) from error
    return max(several) // 2


def give_back(model: Any) -> None:
    """Return to the system, or to the device's pool, what a failed attempt held."""
    gc.collect()
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        memory.give_back()
