"""Chunks of a batch prediction answered on a Ray cluster: the same answers, all kept here."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from components.contracts.events import Silent
from components.runtime.predict import Predictor
from components.runtime.text import TextModel
from components.sources.origin import Row

Chunk = tuple[int, list[Row]]
"""A chunk's number and its rows."""

Answers = list[dict[str, Any]]
"""What a chunk's file holds."""

Spread = Callable[[Callable[[Chunk], Answers], Iterable[Chunk]], Iterator[Answers]]
"""Calls a function that can be pickled for each chunk; yields what it returns in their order."""


@dataclass(frozen=True)
class Asking:
    """Answers a chunk in another process, which opens the model once from the same folder.

    `predictor` is all of a `Predictor` but its model.
    """

    folder: Path
    device: Literal["cpu", "cuda"]
    threads: int
    predictor: Predictor
    column: str

    def __call__(self, chunk: Chunk) -> Answers:
        from flows.batch_run import answer_rows

        number, rows = chunk
        model = _opened(self.folder, self.device, self.threads)
        predictor = replace(self.predictor, model=model)
        return answer_rows(predictor, number, rows, self.column, Silent(), 0, len(rows))


@lru_cache(maxsize=1)
def _opened(folder: Path, device: Literal["cpu", "cuda"], threads: int) -> TextModel:
    return TextModel(folder, threads=threads, device=device)


@dataclass(frozen=True)
class Elsewhere:
    """Where chunks are answered if not here: `spread` over the files in `folder`."""

    spread: Spread
    folder: Path
    device: Literal["cpu", "cuda"]
    threads: int

    def answers(
        self, predictor: Predictor, column: str, chunks: Iterable[Chunk]
    ) -> Iterator[tuple[int, Sequence[dict[str, Any]]]]:
        """Yield the number of each chunk and its answers, in order."""
        bare = replace(predictor, model=None)  # type: ignore[arg-type]  # opened over there
        asking = Asking(self.folder, self.device, self.threads, bare, column)
        waiting: deque[int] = deque()

        def sent() -> Iterator[Chunk]:
            for number, rows in chunks:
                waiting.append(number)
                yield number, rows

        for made in self.spread(asking, sent()):
            yield waiting.popleft(), made
