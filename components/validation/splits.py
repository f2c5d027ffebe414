"""Which split a row falls into: decided by its content, and by that of its group if it has one."""

from typing import Any

import numpy as np

from components.validation.identity import SPLITS
from components.validation.settings import SplitSettings

TRAIN, VALIDATION, TEST = range(len(SPLITS))


def assign(places: Any, settings: SplitSettings, labels: Any = None, near: Any = None) -> Any:
    """Return the split of every row as its index in `SPLITS`.

    `places` (uint64) say where rows lie on the line that the splits divide: rows at the same place
    are never parted. `near[i]` is the first row of the group of near copies that row i is in, or
    i: they take the place of the first of them. `labels` (integers) are needed to stratify.
    """
    if near is not None:
        places = places[first_of_linked(places, near)]
    edges = (settings.train, settings.train + settings.validation)
    if settings.stratify:
        return _stratified(places, labels, edges)
    return np.searchsorted(edges, places / 2.0**64, side="right").astype(np.int8)


def first_of_linked(places: Any, near: Any) -> Any:
    """Return for every row the first of all rows that it is linked to, over any number of links.

    Rows at the same place are linked, and those that `near` links.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(places)
    _, first, group = np.unique(places, return_index=True, return_inverse=True)
    ends = np.concatenate([near, first[group]])
    starts = np.tile(np.arange(count), 2)
    links = coo_array((np.ones(2 * count, dtype=np.int8), (starts, ends)), shape=(count, count))
    _, component = connected_components(links, directed=False)
    _, first, group = np.unique(component, return_index=True, return_inverse=True)
    return first[group]


def _stratified(places: Any, labels: Any, edges: tuple[float, float]) -> Any:
    """Divide the rows of every label at its own quantiles of the line.

    A group at one place counts as one piece, for the label of its first row. When rows are added to
    a label, the quantiles shift and the rows between old and new edge change their split.
    """
    _, first, unit, size = np.unique(
        places, return_index=True, return_inverse=True, return_counts=True
    )
    splits = np.zeros(len(first), dtype=np.int8)
    for label in np.unique(labels[first]):
        members = np.flatnonzero(labels[first] == label)  # units come in the order of their places
        middle = np.cumsum(size[members]) - size[members] / 2
        splits[members] = np.searchsorted(edges, middle / size[members].sum(), side="right")
    return splits[unit]
