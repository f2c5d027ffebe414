"""Which layers an adapter is put on: names checked against those that the model has."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError, did_you_mean
from components.model.settings import LoraSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def target_modules(model: "PreTrainedModel", settings: LoraSettings) -> str | list[str]:
    """Return what peft is to adapt; it takes a choice of blocks only with layers named.

    Raises:
        ModelError: a name matches no linear layer, or the head that is the embedding too.
    """
    names = settings.lora_target_modules
    if names == "all-linear":
        return linear_names(model) if settings.lora_top_layers else names
    check_names(model, names)
    return list(names)


def check_names(model: "PreTrainedModel", names: Sequence[str]) -> None:
    """Raise `ModelError` for every name that peft would skip in silence or adapt wrongly."""
    faults = [fault for name in names if (fault := fault_of(model, name))]
    if faults:
        raise ModelError(
            "\n".join(f"training.lora_target_modules: {fault}" for fault in faults),
            fix=f"use all-linear, or some of: {', '.join(linear_names(model))}",
        )


def fault_of(model: "PreTrainedModel", name: str) -> str | None:
    """Return what is wrong with one name, or `None`. A name is a module's path or its end."""
    found = [m for path, m in model.named_modules() if f".{path}".endswith(f".{name}")]
    if not found:
        near = did_you_mean(name, linear_names(model))
        return f"found '{name}', but the model has no such layer{near}"
    for module in found:
        if not is_linear(module):
            return f"found '{name}', but that is a {type(module).__name__}, not a linear layer"
    head = model.get_output_embeddings()
    if any(module is head for module in found) and is_tied(model):
        return (
            f"found '{name}', but this model's head is its embedding too: "
            "an adapter merged into one would change the other"
        )
    return None


def is_tied(model: "PreTrainedModel") -> bool:
    """Say whether the output head and the input embedding are one tensor."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    return head is not None and head.weight is embedding.weight


def linear_names(model: "PreTrainedModel") -> list[str]:
    """Return the names of the linear layers, without the output head."""
    head = model.get_output_embeddings()
    linear = (name for name, m in model.named_modules() if is_linear(m) and m is not head)
    return sorted({name.rpartition(".")[2] for name in linear})


def is_linear(module: Any) -> bool:
    """Say whether a module is a linear layer (quantised kinds are subclasses; GPT-2 has Conv1D)."""
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)


def top_layers(model: "PreTrainedModel", count: int | None) -> list[int] | None:
    """Return the indices of the last `count` blocks, or `None` for all.

    Raises:
        ModelError: the model has fewer blocks.
    """
    if count is None:
        return None
    blocks = int(model.config.num_hidden_layers)
    if count > blocks:
        raise ModelError(
            f"training.lora_top_layers is {count}, but the model has {blocks} blocks",
            fix=f"use a number from 1 to {blocks}, or null for all",
        )
    return list(range(blocks - count, blocks))
