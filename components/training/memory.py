"""Giving freed memory back to the system."""

import ctypes
import sys

EVERY = 10
"""Steps between two calls: a call takes two tenths of a second, and so does touching pages anew."""


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc).

    Batches have many shapes, so glibc's heap is left with holes that fit no later tensor
    (docs/log.md has figures).
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
