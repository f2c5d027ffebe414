"""Attention for texts that fork: a trunk is read once, and each branch sees trunk and itself only.

The choices of a question lie behind one copy of its context instead of a copy each. A trunk with
its branches is one row of the flat batch of `shared_prefix`, with a mask of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.model.shared_prefix import Layout, lay_out

if TYPE_CHECKING:
    import torch

Tree = tuple[Sequence[int], Sequence[Sequence[int]]]
"""A trunk of tokens, and its branches (each without what comes last, which is not read)."""


@dataclass(frozen=True)
class Forest:
    """Trees end to end: `ids` and `places` (position ids) [tokens], the layout for attention.

    `wanted` are the places in `ids` whose logits are kept: for each tree the last token of its
    trunk, then all tokens of its branches.
    """

    ids: "np.ndarray[Any, np.dtype[np.int64]]"
    places: "np.ndarray[Any, np.dtype[np.int64]]"
    wanted: "np.ndarray[Any, np.dtype[np.int64]]"
    layout: Layout


def size(tree: Tree) -> int:
    """Return how many tokens of a tree are read."""
    trunk, branches = tree
    return len(trunk) + sum(map(len, branches))


def kept(tree: Tree) -> int:
    """Return of how many tokens of a tree the logits are kept."""
    return 1 + sum(map(len, tree[1]))


def lay_out_trees(
    p: int, trees: Sequence[Tree], device: "torch.device", dtype: "torch.dtype"
) -> Forest:
    """Return `trees` behind a cached prefix of `p` tokens as one flat row."""
    import torch

    sizes = [size(tree) for tree in trees]
    starts = np.cumsum([0, *sizes])
    ids = [np.concatenate([np.asarray(part, np.int64) for part in (t, *b)]) for t, b in trees]
    places = [_places(p, tree) for tree in trees]
    wanted = [
        np.arange(start + len(trunk) - 1, start + total)
        for start, total, (trunk, _) in zip(starts, sizes, trees, strict=False)
    ]
    layout = lay_out(p, sizes, device, dtype)
    seen = np.stack([_seen(tree, layout.longest) for tree in trees])
    hidden = torch.finfo(dtype).min
    own = torch.where(torch.from_numpy(seen), 0.0, hidden).to(device=device, dtype=dtype)
    bias = torch.cat([own.new_zeros(*own.shape[:2], p), own], dim=2)[:, None, None]
    return Forest(
        np.concatenate(ids),
        np.concatenate(places),
        np.concatenate(wanted),
        Layout(**{**layout.__dict__, "bias": bias}),
    )


def _places(p: int, tree: Tree) -> "np.ndarray[Any, np.dtype[np.int64]]":
    trunk, branches = tree
    after = p + len(trunk)
    parts = [np.arange(p, after), *(np.arange(after, after + len(one)) for one in branches)]
    return np.concatenate(parts).astype(np.int64)


def _seen(tree: Tree, longest: int) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return [longest, longest]: which token (row) sees which (column); padding sees itself."""
    trunk, branches = tree
    part = np.full(longest, -1)
    part[: size(tree)] = np.repeat(range(len(branches) + 1), [len(trunk), *map(len, branches)])
    same = (part[:, None] == part[None, :]) | (part[None, :] == 0)
    return np.tril(same)
