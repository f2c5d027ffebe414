"""The memory of a training step, counted without computing or holding anything.

A model whose weights are on torch's "meta" device has shapes and no numbers. Run forward and
backward, its operations say exactly which tensors would be alive at once. Token ids, masks and
labels stay real, because shapes depend on them (the head runs on trained tokens only).
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")
META = torch.device("meta")


class LiveBytes(TorchDispatchMode):
    """Inside the block, counts the bytes of meta tensors alive (`live`) and their most (`peak`).

    `given` are tensors that are there from the start. Operations on meta and real tensors together
    run on meta.
    """

    def __init__(self, given: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
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
        result = func(*args, **words)
        for tensor in tree_flatten(result)[0]:
            if isinstance(tensor, torch.Tensor):
                self.count(tensor)
        return result

    def count(self, tensor: torch.Tensor) -> None:
        """Count the memory behind `tensor` once, until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not tensor.is_meta or key in self.known:
            return
        self.known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.freed, key, size)

    def freed(self, key: int, size: int) -> None:
        self.live -= size
        self.known.discard(key)


def places(index: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
    """Return an index as meta tensors; a real mask becomes as many places as it has."""
    if index is None or index.is_meta:
        return (index,)
    found = index.nonzero(as_tuple=True) if index.dtype == torch.bool else (index,)
    return tuple(on_meta(part) for part in found)


def on_meta(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same shape without numbers."""
    return tensor if tensor.is_meta else torch.empty_like(tensor, device=META)


def traced_peak(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> int:
    """Return the bytes alive at most, beyond the model's own, while `loss()` runs both ways."""
    given = [*model.parameters(), *model.buffers()]
    with LiveBytes(given) as bytes_:
        before = bytes_.live
        loss().backward()
        peak = bytes_.peak
    model.zero_grad(set_to_none=True)
    return peak - before
