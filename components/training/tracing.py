"""The memory of a training step, counted without computing or holding anything.

A model whose weights are on torch's "meta" device has shapes and no numbers. Run forward and
backward, its operations say exactly which tensors would be alive at once. Token ids, masks and
labels stay real, because shapes depend on them (the head runs on trained tokens only).
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from components.contracts.errors import ModelError

INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")
META = torch.device("meta")


class LiveBytes(TorchDispatchMode):
    """Inside the block, counts the bytes of meta tensors alive (`live`) and their most (`peak`).

    `given` are tensors that are there from the start. Operations on meta and real tensors together
    run on meta.
    """

    def __init__(self, given: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: int = 0
        self.peak: int = 0
        self.known: set[int] = set()
        for tensor in given:
            self.count(tensor)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        words = dict(kwargs or {})
        tensors = [x for x in tree_flatten((args, words))[0] if isinstance(x, torch.Tensor)]
        if any(tensor.is_meta for tensor in tensors):
            if func.overloadpacket.__name__ in INDEXING:
                args = (args[0], [part for one in args[1] for part in places(one)], *args[2:])
            args, words = tree_map_only(torch.Tensor, on_meta, (args, words))
            if words.get("device") is not None:
                words["device"] = META
        elif words.get("device") == META and counts_or_masks(args, words, tensors):
            words["device"] = torch.device("cpu")
        result = func(*args, **words)
        for tensor in tree_flatten(result)[0]:
            if isinstance(tensor, torch.Tensor):
                self.count(tensor)
        return result

    def count(self, tensor: torch.Tensor) -> None:
        """Count the memory behind `tensor` once, until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not self.counts(tensor) or key in self.known:
            return
        self.known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.freed, key, size)

    def counts(self, tensor: torch.Tensor) -> bool:
        return tensor.is_meta

    def freed(self, key: int, size: int) -> None:
        self.live -= size
        self.known.discard(key)


def counts_or_masks(args: Any, words: Mapping[str, Any], tensors: list[torch.Tensor]) -> bool:
    """Say whether a tensor to be made holds whole numbers or truths: these stay real.

    Code asks for their values ("is anything padded?") to choose its way.
    """
    kind = words.get("dtype") or (tensors[0].dtype if tensors else None)
    if kind is None:
        return bool(args) and all(isinstance(one, int) for one in args)
    return not (kind.is_floating_point or kind.is_complex)


def places(index: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
    """Return an index as meta tensors; a real mask becomes as many places as it has."""
    if index is None or index.is_meta:
        return (index,)
    found = index.nonzero(as_tuple=True) if index.dtype == torch.bool else (index,)
    return tuple(on_meta(part) for part in found)


def on_meta(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same shape without numbers."""
    return tensor if tensor.is_meta else torch.empty_like(tensor, device=META)


class Attention(torch.autograd.Function):
    """Fused attention as all its kernels do it: queries, keys, values and output are kept.

    Left alone, torch writes out the products of scores on meta. Real devices do not, but for the
    CPU where scores have dropout.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:-1]).float())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, ...]:
        query, key, value, _, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


class FusedAttention(TorchFunctionMode):
    """Inside the block, torch's attention on meta tensors is `Attention`."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        words = kwargs or {}
        fused = not words.get("dropout_p") or torch.cuda.is_available()
        attention = func is torch.nn.functional.scaled_dot_product_attention
        if attention and args[0].is_meta and fused:
            return Attention.apply(*args[:3])  # type: ignore[no-untyped-call]
        return func(*args, **words)


def traced_peak(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> int:
    """Return the bytes alive at most, beyond the model's own, while `loss()` runs both ways.

    Raises:
        ModelError: what the model does depends on numbers that are not there.
    """
    given = [*model.parameters(), *model.buffers()]
    with FusedAttention(), LiveBytes(given) as bytes_:
        before = bytes_.live
        try:
            loss().backward()
        except (RuntimeError, NotImplementedError) as error:
            raise ModelError(
                f"the memory of this model cannot be told without running it: {error}",
                fix="tuneline verify-resume RECIPE --steps 4 runs a few real steps",
            ) from error
        peak = bytes_.peak
    model.zero_grad(set_to_none=True)
    return int(peak - before)
