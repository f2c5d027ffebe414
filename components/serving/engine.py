"""One model and the requests it answers: joined into one batch as they come, step by step."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ModelError, TunelineError
from components.runtime.generate import Generation, choose_token, first_seen
from components.runtime.ragged import Apart, Rows, Together
from components.runtime.shape import Shape
from components.runtime.stream import Finish, TextStream
from components.runtime.text import TextModel
from components.serving.limits import Limits

GUESS_SECONDS = 1.0
"""How long a request takes, as long as none has been answered."""


class BusyError(TunelineError):
    """As many requests wait as may wait; `retry_after` is a guess in seconds."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__("the server is busy", fix=f"try again in {retry_after} s")


class ClosedError(TunelineError):
    """This engine takes no more requests: another one has taken its place."""


@dataclass(frozen=True)
class Said:
    """One token: its id, the text that became certain with it, and log-probabilities if asked."""

    token: int
    text: str
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class End:
    """The end of an answer, with the text that was held back until then."""

    text: str
    finish: Finish


Event = Said | End | Exception


@dataclass
class Job:
    """One question. `emit` gets its events in order, in the engine's own thread."""

    prompt: Sequence[int]
    generation: Generation
    emit: Callable[[Event], None]
    stops: Sequence[str] = ()
    top_logprobs: int | None = None
    cancelled: bool = False

    @property
    def tokens(self) -> int:
        """How much room it takes in the cache at its end."""
        return len(self.prompt) + self.generation.max_new_tokens


@dataclass
class Row:
    """A job that is being answered."""

    job: Job
    text: TextStream
    random: np.random.Generator
    started: float
    answer: list[int] = field(default_factory=list)
    done: bool = False


class Engine:
    """Answers jobs with one model in a thread of its own.

    `steps` and `rows_stepped` count runs of the model and the rows in them; `prefills` the prompts
    read.
    """

    def __init__(self, model: TextModel, shape: Shape, name: str, version: str, limits: Limits):
        self.model, self.shape, self.name, self.version = model, shape, name, version
        self.limits = limits
        self.together = model.decodes_together
        self.rows: list[Row] = []
        self.waiting: deque[Job] = deque()
        self.steps = self.rows_stepped = self.prefills = 0
        self._seconds = GUESS_SECONDS
        self._closing = False
        self._changed = threading.Condition()
        self._cache: Rows = self._new_cache()
        self._thread = threading.Thread(target=self._work, name=f"engine {self.title}", daemon=True)
        self._thread.start()

    @property
    def title(self) -> str:
        return f"{self.name}/{self.version}" if self.version else self.name

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, job: Job) -> None:
        """Take a job; raise `BusyError` if too many wait, `ClosedError` once this is ending."""
        with self._changed:
            if self._closing:
                raise ClosedError(f"{self.title} takes no more requests")
            free = self.limits.max_concurrency - len(self.rows)
            if len(self.waiting) >= self.limits.max_queue + max(free, 0):
                ahead = len(self.waiting) + len(self.rows)
                turns = ahead / self.limits.max_concurrency
                raise BusyError(min(60, max(1, math.ceil(self._seconds * turns))))
            self.waiting.append(job)
            self._changed.notify()

    def close(self) -> None:
        """Take no more jobs; those it has come to their end."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def join(self, timeout: float | None = None) -> None:
        """Wait until all jobs have come to their end."""
        self._thread.join(timeout)

    def _new_cache(self) -> Rows:
        return Together(self.model.model) if self.together else Apart(self.model.model)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self.waiting or self.rows or self._closing):
                    self._changed.wait()
                if not (self.waiting or self.rows):
                    return
                job = self._next()
            if job:
                self._begin(job)
            if self.rows:
                self._step()

    def _next(self) -> Job | None:
        """Return one waiting job that there is room for: rows go on between two long prompts."""
        if not self.waiting or len(self.rows) >= self.limits.max_concurrency:
            return None
        longest = max([self.waiting[0].tokens, *(row.job.tokens for row in self.rows)])
        if self.rows and longest * (len(self.rows) + 1) > self.limits.max_cached_tokens:
            return None
        return self.waiting.popleft()

    def _begin(self, job: Job) -> None:
        if job.cancelled:
            return
        row = Row(
            job,
            TextStream(self.model.decode, job.stops),
            np.random.default_rng(job.generation.seed),
            time.monotonic(),
        )
        try:
            logits = self._cache.join(job.prompt)
        # Whatever the runtime raises belongs to this request; the others go on.
        except Exception as error:  # noqa: BLE001
            job.emit(ModelError(f"the model failed on the prompt: {error}"))
            return
        self.prefills += 1
        self.rows.append(row)
        self._choose(row, logits)
        self._leave()

    def _step(self) -> None:
        try:
            logits = self._cache.step([row.answer[-1] for row in self.rows])
        except Exception as error:  # noqa: BLE001 (as above, but all rows are lost)
            for row in self.rows:
                row.job.emit(ModelError(f"the model failed: {error}"))
            self.rows, self._cache = [], self._new_cache()
            return
        self.steps += 1
        self.rows_stepped += len(self.rows)
        for row, scores in zip(self.rows, logits, strict=True):
            self._choose(row, scores)
        self._leave()

    def _choose(self, row: Row, logits: NDArray[np.float32]) -> None:
        """Give a row its next token and tell it; mark the row when that ends it."""
        job, how = row.job, row.job.generation
        penalised = how.repetition_penalty != 1
        seen = [*first_seen(self.model.model, job.prompt), *row.answer] if penalised else ()
        token = choose_token(logits, seen, how, row.random)
        if token in self.model.stop_ids:
            self._end(row, "stop")
            return
        row.answer.append(token)
        text = row.text.push(token)
        job.emit(Said(token, text, *_weighed(logits, token, job.top_logprobs)))
        if row.text.stopped:
            self._end(row, "stop")
        elif len(row.answer) >= how.max_new_tokens:
            self._end(row, "length")

    def _end(self, row: Row, finish: Finish) -> None:
        row.done = True
        text = row.text.end()
        row.job.emit(End(text, "stop" if row.text.stopped else finish))
        self._seconds = 0.8 * self._seconds + 0.2 * (time.monotonic() - row.started)

    def _leave(self) -> None:
        gone = [at for at, row in enumerate(self.rows) if row.done or row.job.cancelled]
        if gone:
            self._cache.drop(gone)
            self.rows = [row for at, row in enumerate(self.rows) if at not in gone]


def _weighed(logits: NDArray[np.float32], token: int, top: int | None) -> tuple[Any, ...]:
    """Return the log-probability of `token` and of the `top` likeliest, before any filter."""
    if top is None:
        return ()
    scores = logits.astype(np.float64)
    highest = scores.max()
    logprobs = scores - highest - np.log(np.exp(scores - highest).sum())
    best = np.argsort(-logprobs, kind="stable")[:top]
    return float(logprobs[token]), tuple((int(at), float(logprobs[at])) for at in best)
