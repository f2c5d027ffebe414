"""The most memory that this process has resident while something runs."""

import ctypes
import sys
import threading
from types import TracebackType
from typing import Self

EVERY_S = 0.01


class PeakMemory:
    """Samples the resident size of this process; use it as a context manager.

    What was freed before is given back to the system first, where the C library can, so that it is
    not taken again unseen.
    """

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._before = self._peak = 0

    def __enter__(self) -> Self:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
        if trim is not None:
            trim(0)
        self._before = self._peak = self._resident()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def grown(self) -> int:
        """Return by how many bytes the process was larger, at most, than at the beginning."""
        self._peak = max(self._peak, self._resident())
        return self._peak - self._before

    def _watch(self) -> None:
        while not self._done.wait(EVERY_S):
            self._peak = max(self._peak, self._resident())

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)
