"""Training by several processes: joining their group, or starting them on this machine.

The processes are started by torch's own launcher (the engine of `torchrun`); accelerate finds out
from its environment who each of them is, takes its GPU and connects it with the others.
"""

import os
import signal
import sys
import threading
import traceback
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError, TunelineError
from components.contracts.events import Context, Events, Silent
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.group import Group
from components.training.settings import TrainingSettings

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others before it gives up."""

SHUTDOWN = 60
"""Seconds that processes get to write a checkpoint after SIGTERM, or to see that one is gone."""


class GroupBrokenError(RuntimeError):
    """A process of the group went away. The same call goes on from the last checkpoint."""


def in_group() -> bool:
    """Say whether this process was started as one of a group (torchrun, accelerate, `launch`)."""
    import torch.distributed as dist

    return bool(dist.is_available() and dist.is_torchelastic_launched())


@contextmanager
def member(settings: TrainingSettings) -> Iterator[Group]:
    """Join the group that this process was started in, and leave it in good order.

    Raises:
        ModelError: the group has another number of processes than the recipe says.
    """
    import torch
    from accelerate import PartialState

    cuda = torch.cuda.is_available()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="OMP_NUM_THREADS")
        # Beside NCCL for gradients, gloo: small things are told without stopping the GPU.
        backend = {"backend": "cuda:nccl,cpu:gloo"} if cuda else {}
        state = PartialState(cpu=not cuda, timeout=PATIENCE, **backend)
    rank, size = state.process_index, state.num_processes
    if size != settings.num_processes:
        raise ModelError(
            f"training.num_processes is {settings.num_processes}, but {size} were started",
            fix=f"set it to {size}: the steps, and so the adapter, hang on it",
        )
    kind: type[Group] = Group
    if settings.fsdp:
        from components.training.sharded import Sharded

        kind = Sharded
    yield kind(rank, size)
    state.destroy_process_group()


def own_context(context: Context, group: Group) -> Context:
    """Return what a process of the group may use: only the first one is heard.

    Others keep what they compute once in a place of their own.
    """
    if group.first:
        return context
    scratch = context.scratch / f"process-{group.rank}"
    scratch.mkdir(parents=True, exist_ok=True)
    return replace(context, scratch=scratch, events=Silent())


@dataclass(frozen=True)
class Job:
    """What the processes are given; each writes to its own of `pipes`."""

    base: Path
    tokens: Path
    settings: TrainingSettings
    out: Path
    root: Path
    scratch: Path
    threads: int
    pipes: Sequence[Connection]


@dataclass(frozen=True)
class Piped:
    """Passes what a process tells on to the one that started it."""

    pipe: Connection

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.pipe.send(("metrics", step, dict(values)))

    def progress(self, label: str, done: int, total: int) -> None:
        self.pipe.send(("progress", label, done, total))

    def note(self, text: str) -> None:
        self.pipe.send(("note", text))


def launch(
    base: BaseModelFolder, tokens: Tokens, settings: TrainingSettings, out: Path, context: Context
) -> None:
    """Start `num_processes` processes here that train together, and wait for their end.

    Raises:
        ModelError: there are fewer GPUs than processes.
        GroupBrokenError: a process was killed or failed as nobody foresaw.
        TunelineError: whatever a process raised of it.
    """
    import multiprocessing

    import torch

    count = settings.num_processes
    need_devices(count)
    spawned = multiprocessing.get_context("spawn")
    pairs = [spawned.Pipe(duplex=False) for _ in range(count)]
    threads = max(1, torch.get_num_threads() // count)
    places = (base.path, tokens.path, settings, out, context.root, context.scratch)
    job = Job(*places, threads, [writer for _, writer in pairs])
    listener = Listener(context.events, [reader for reader, _ in pairs])
    listener.thread.start()
    try:
        failure = started(job, count)
    finally:
        for _, writer in pairs:
            writer.close()
        listener.thread.join(timeout=SHUTDOWN)
    listener.raise_what_was_told(failure)


def need_devices(count: int) -> None:
    """Raise `ModelError` if this machine has GPUs, but fewer than `count`."""
    import torch

    found = torch.cuda.device_count()
    if found and found < count:
        raise ModelError(
            f"training.num_processes: {count}, but this machine has {found} GPU(s)",
            fix=f"set it to {found}, or start the stage with torchrun on several machines "
            "(docs/gpu.md)",
        )


def started(job: Job, count: int) -> str | None:
    """Run the processes to their end; return what is known of a failure."""
    import logging

    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # What failed is told by the processes themselves: the launcher's own pages add nothing.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        shutdown_timeout=SHUTDOWN,
    )
    with signals_kept():
        try:
            elastic_launch(config, work)(job)
        except ChildFailedError as error:
            rank, first = error.get_first_failure()
            name = first.signal_name()
            how = f"exit code {first.exitcode}" if first.exitcode > 0 else f"signal {name}"
            return f"process {rank} of {count} ended with {how}"
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from error
            return f"asked to end ({error.sigval.name})"
    return None


@contextmanager
def signals_kept() -> Iterator[None]:
    """Put the signal handlers back that torch's launcher replaces for good."""
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass
class Listener:
    """Hears all processes, passes on what they tell and keeps their errors."""

    events: Events
    readers: list[Connection]
    errors: list[tuple[int, type[TunelineError] | None, str, str | None]] = field(
        default_factory=list
    )
    own: BaseException | None = None

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.listen, daemon=True)

    def listen(self) -> None:
        """Read until every process has closed its end."""
        places = {id(reader): rank for rank, reader in enumerate(self.readers)}
        alive: list[Any] = list(self.readers)
        while alive:
            ready: list[Any] = wait(alive)
            for reader in ready:
                try:
                    message = reader.recv()
                except (EOFError, OSError):
                    alive.remove(reader)
                    continue
                try:
                    self.hear(places[id(reader)], *message)
                except BaseException as error:  # noqa: BLE001 - raised again by the other thread
                    self.own = error
                    for one in self.readers:
                        one.close()  # who tells on then ends with an error, and the group with it
                    return

    def hear(self, rank: int, what: str, *words: Any) -> None:
        """Take one message."""
        if what == "error":
            self.errors.append((rank, *words))
        else:
            getattr(self.events, what)(*words)

    def raise_what_was_told(self, failure: str | None) -> None:
        """Raise the error that ended the group, if one did."""
        if self.own is not None:
            raise self.own
        for _, kind, problem, fix in self.errors:
            if kind is not None:
                raise kind(problem, fix=fix)
        if failure is None:
            return
        told = "".join(f"\nprocess {rank}: {text}" for rank, _, text, _ in self.errors)
        raise GroupBrokenError(
            f"{failure}; run the same command again: it goes on from the last checkpoint{told}"
        )


def work(job: Job) -> None:
    """Be one process of the group."""
    import torch

    from components.training.train import train_together

    with member(job.settings) as group:
        torch.set_num_threads(job.threads)
        for rank, pipe in enumerate(job.pipes):
            if rank != group.rank:
                pipe.close()
        pipe = job.pipes[group.rank]
        context = own_context(Context(job.root, job.scratch, Piped(pipe)), group)
        try:
            base, tokens = BaseModelFolder.open(job.base), Tokens.open(job.tokens)
            train_together(group, base, tokens, job.settings, out=job.out, context=context)
        except TunelineError as error:
            leave(pipe, error.exit_code, type(error), error.problem, error.fix)
        except Exception:  # noqa: BLE001 - told to the process that started this one
            leave(pipe, 1, None, traceback.format_exc(), None)


def leave(pipe: Connection, code: int, *error: Any) -> None:
    """Tell of an error and end at once: a broken connection could hold up an orderly end."""
    with suppress(OSError):
        pipe.send(("error", *error))
        pipe.close()
    sys.stderr.flush()
    os._exit(code)
