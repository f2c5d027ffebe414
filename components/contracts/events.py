"""What a step tells while it works: it knows only `Events`; who listens is the door's choice."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")


class Events(Protocol):
    """Three things a listener can hear."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of one training step (`step` counts from 1)."""

    def progress(self, label: str, done: int, total: int) -> None:
        """Take how far a long piece of work has come."""

    def note(self, text: str) -> None:
        """Take one line for people."""


class Silent:
    """Hears everything and does nothing."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def progress(self, label: str, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass
class Heard:
    """Keeps all it hears, for tests and for reading afterwards."""

    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    marks: list[tuple[str, int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.curve.append((step, dict(values)))

    def progress(self, label: str, done: int, total: int) -> None:
        self.marks.append((label, done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass(frozen=True)
class Tee:
    """Passes everything on to several listeners, in order."""

    listeners: Sequence[Events]

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        for listener in self.listeners:
            listener.metrics(step, values)

    def progress(self, label: str, done: int, total: int) -> None:
        for listener in self.listeners:
            listener.progress(label, done, total)

    def note(self, text: str) -> None:
        for listener in self.listeners:
            listener.note(text)


def tracked(items: Iterable[T], events: Events, label: str, total: int) -> Iterator[T]:
    """Yield `items`, reporting progress after each one has been worked on."""
    for done, item in enumerate(items, start=1):
        yield item
        events.progress(label, done, total)


@dataclass(frozen=True)
class Context:
    """What a step may use besides its inputs, its settings and its place to write.

    `root` is where relative paths in a recipe start. `scratch` survives a crash and is never part
    of an artefact: checkpoints and downloads live there.
    """

    root: Path
    scratch: Path
    events: Events = field(default_factory=Silent)
