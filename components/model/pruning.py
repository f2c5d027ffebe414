"""Magnitude pruning: the smallest weights of every linear layer become zero, and stay it.

Han et al. 2015 (arXiv:1506.02626). Which weights go hangs on the full-precision base alone, so the
same masks come out before training, in whatever precision it runs, and when the adapter is merged.
A merge adds B·A to every weight and would fill the zeros again: the masks are put on once more.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.artefacts import write_json
from components.contracts.errors import ModelError
from components.model.pruning_settings import PruningSettings

if TYPE_CHECKING:
    import torch

FILE = "pruning.json"
"""Beside the adapter: what it was trained on."""

GROUP, KEPT = 4, 2

Masks = dict[str, "torch.Tensor"]
"""By the name of a layer in the plain model: True where a weight stays, shaped as the weight."""


def prune(model: Any, settings: PruningSettings) -> Masks:
    """Set the smallest weights of `model` to zero and return the masks.

    Raises:
        ModelError: a layer's input is no multiple of four, as 2:4 needs.
    """
    masks = {name: mask_of(layer, name, settings) for name, layer in linear_layers(model)}
    keep_pruned(model, masks)
    return masks


def keep_pruned(model: Any, masks: Masks) -> None:
    """Set the weights that are masked to zero, in place."""
    import torch

    with torch.no_grad():
        for name, mask in masks.items():
            layer = model.get_submodule(name)
            weight = getattr(layer, "base_layer", layer).weight
            weight.mul_(mask.to(weight.device))


def linear_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and module of every linear layer but the output head."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head:
            yield name, module


def mask_of(layer: Any, name: str, settings: PruningSettings) -> "torch.Tensor":
    """Return which weights of a layer stay [as its weight]; equal ones go in their order."""
    size = layer.weight.detach().abs().float()
    if settings.sparsity_type == "unstructured":
        return largest(size, round(settings.sparsity * size.numel()))
    # GPT-2's layers hold their weight as [in, out].
    transposed = not hasattr(layer, "in_features")
    rows = size.t().contiguous() if transposed else size
    if rows.shape[1] % GROUP:
        raise ModelError(
            f"layer {name} has {rows.shape[1]} inputs, but 2:4 takes them by fours",
            fix="set training.pruning.sparsity_type: unstructured",
        )
    mask = largest_of_groups(rows)
    return mask.t().contiguous() if transposed else mask


def largest(size: "torch.Tensor", gone: int) -> "torch.Tensor":
    """Return a mask of `size` without its `gone` smallest values, exactly so many."""
    import torch

    if gone == 0:
        return torch.ones_like(size, dtype=torch.bool)
    flat = size.flatten()
    limit = flat.kthvalue(gone).values
    mask = flat >= limit
    equal = (flat == limit).nonzero().flatten()
    mask[equal[: gone - int((flat < limit).sum())]] = False
    return mask.view_as(size)


def largest_of_groups(size: "torch.Tensor") -> "torch.Tensor":
    """Return a mask of the two largest of every four neighbours along the last axis."""
    import torch

    groups = size.reshape(-1, GROUP)
    kept = groups.sort(dim=1, descending=True, stable=True).indices[:, :KEPT]
    mask = torch.zeros_like(groups, dtype=torch.bool)
    return mask.scatter_(1, kept, True).view_as(size)


def shares(masks: Masks) -> dict[str, float]:
    """Return the share of zeros by the kind of layer (`q_proj`, `down_proj` …)."""
    zeros: dict[str, int] = defaultdict(int)
    count: dict[str, int] = defaultdict(int)
    for name, mask in masks.items():
        kind = name.rpartition(".")[2]
        zeros[kind] += int((~mask).sum())
        count[kind] += mask.numel()
    return {kind: zeros[kind] / count[kind] for kind in sorted(count)}


def masks_of(folder: Path, settings: PruningSettings) -> Masks:
    """Return the masks of the base model in `folder`, from its full-precision weights."""
    import torch

    from components.model.base import load_base

    model = load_base(folder, dtype=torch.float32, device=torch.device("cpu"))
    return {name: mask_of(layer, name, settings) for name, layer in linear_layers(model)}


def save_pruning(settings: PruningSettings | None, folder: Path) -> None:
    """Write beside an adapter on what it was trained; nothing if that was the whole base."""
    if settings is not None:
        write_json(folder / FILE, settings.model_dump())


def read_pruning(folder: Path) -> PruningSettings | None:
    """Return what `save_pruning` wrote beside an adapter, `None` if it was trained on the base."""
    file = folder / FILE
    if not file.is_file():
        return None
    return PruningSettings.model_validate(json.loads(file.read_text(encoding="utf-8")))
