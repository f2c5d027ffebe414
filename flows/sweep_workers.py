"""Where trials run: child processes of this machine, or Ray."""

import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from components.contracts.errors import RecipeError, TunelineError
from flows.environment import trial_environment
from flows.sweep_settings import SweepSettings
from flows.sweep_trials import FAULT
from flows.trial import CRASHED, attempt

POLL = 0.05
START = 180
"""Seconds that Ray gets to start."""

PATIENCE = 60
"""Seconds that trials get to write a checkpoint when the sweep is ended."""


class Workers(Protocol):
    """Runs trials by their folders, at most `free` more of them."""

    @property
    def free(self) -> int: ...

    def start(self, folder: Path) -> None:
        """Begin the trial in `folder`."""

    def wait(self) -> tuple[Path, int]:
        """Return the next trial that has ended, and its exit code (see `flows.trial.attempt`)."""


@dataclass
class Children:
    """Child processes, each with its share of cores and GPUs. They end when this process does."""

    count: int
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    running: dict[int, tuple[Path, "subprocess.Popen[bytes]"]] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return self.count - len(self.running)

    def start(self, folder: Path) -> None:
        slot = next(number for number in range(self.count) if number not in self.running)
        with (folder / "log.txt").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "flows.trial", str(folder)],
                env=trial_environment(self.num_cpus, slot, self.num_gpus),
                stdin=subprocess.PIPE,  # its end tells the child that this process is gone
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the sweep, which then asks its trials
            )
        self.running[slot] = folder, child

    def wait(self) -> tuple[Path, int]:
        while True:
            for slot, (folder, child) in self.running.items():
                if child.poll() is not None:
                    del self.running[slot]
                    _close(child)
                    return folder, _told(folder, child.returncode)
            time.sleep(POLL)

    def stop(self) -> None:
        """Ask all that run to write a checkpoint and end."""
        for _, child in self.running.values():
            _close(child)
        until = time.monotonic() + PATIENCE
        for _, child in self.running.values():
            try:
                child.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.running.clear()


def _close(child: "subprocess.Popen[bytes]") -> None:
    if child.stdin is not None:
        child.stdin.close()


def _told(folder: Path, code: int) -> int:
    """Return the exit code of a trial; where it could not say what happened, its log is kept."""
    if code != 0 and not (folder / FAULT).is_file():
        log = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        how = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        last = "\n".join(log.splitlines()[-15:])
        (folder / FAULT).write_text(f"the process {how}\n{last}".rstrip(), encoding="utf-8")
    return CRASHED if code < 0 else code


@dataclass
class OnRay:
    """Tasks of a Ray cluster, each in a process of its own with the CPUs and GPUs it asked for."""

    ray: Any
    count: int
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    running: dict[Any, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A new process a trial: what one changes in torch or transformers is not the next one's.
        remote = self.ray.remote(
            num_cpus=self.num_cpus, num_gpus=self.num_gpus, max_calls=1, max_retries=0
        )
        self.task = remote(_attempt)

    @property
    def free(self) -> int:
        return self.count - len(self.running)

    def start(self, folder: Path) -> None:
        reference = self.task.options(name=folder.name).remote(str(folder))
        self.running[reference] = folder

    def wait(self) -> tuple[Path, int]:
        (ready, *_), _ = self.ray.wait(list(self.running), num_returns=1)
        folder = self.running.pop(ready)
        try:
            return folder, int(self.ray.get(ready))
        except self.ray.exceptions.RayError as error:  # the process or its machine is gone
            (folder / FAULT).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
            return folder, CRASHED


def _attempt(folder: str) -> int:
    return attempt(Path(folder))


@contextmanager
def open_workers(settings: SweepSettings) -> Iterator[Workers]:
    """Give workers of the kind that the settings name; trials that still run at the end are ended.

    Raises `RecipeError` where `engine: ray` or an address is asked for and Ray is not installed.
    """
    with OPENERS[chosen_engine(settings)](settings) as workers:
        yield workers


def chosen_engine(settings: SweepSettings) -> str:
    """Return `ray` or `processes`."""
    if settings.engine == "ray" or settings.address:
        need_ray()
        return "ray"
    return "processes"


def need_ray() -> None:
    """Raise `RecipeError` if Ray is not installed."""
    if find_spec("ray") is None:
        raise RecipeError(
            "Ray is asked for, but it is not installed",
            fix="pip install 'tuneline[ray]', or leave it out: sweep.engine: processes, "
            "no TUNELINE_RAY",
        )


@contextmanager
def _children(settings: SweepSettings) -> Iterator[Workers]:
    workers = Children(settings.workers, settings.num_cpus, settings.num_gpus)
    try:
        yield workers
    finally:
        workers.stop()


@contextmanager
def _on_ray(settings: SweepSettings) -> Iterator[Workers]:
    cpus = math.ceil(settings.workers * settings.num_cpus)
    with ray_cluster(settings.address, cpus) as ray:
        yield OnRay(ray, settings.workers, settings.num_cpus, settings.num_gpus)


@contextmanager
def ray_cluster(address: str | None, num_cpus: int | None) -> Iterator[Any]:
    """Give `ray`, connected to the cluster at `address` or to one of its own on this machine.

    A local one has `num_cpus` (None: as many as the machine), and this machine's GPUs.
    """
    import logging

    import ray

    own: dict[str, Any] = {} if address else {"num_cpus": num_cpus, "include_dashboard": False}
    # "local": without it Ray would join a cluster that happens to be announced on this machine.
    options = {"log_to_driver": False, "logging_level": logging.ERROR, **own}
    failed: list[BaseException] = []
    ready, over = threading.Event(), threading.Event()

    def connect() -> None:
        try:
            ray.init(address=address or "local", **options)
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)
        ready.set()
        # Linux ends Ray's processes with the thread that started them, not with the process.
        over.wait()

    # In a thread, since `ray.init` may wait for ever for processes that a busy machine starves.
    threading.Thread(target=connect, daemon=True).start()
    if not ready.wait(START) or failed:
        over.set()
        how = f"failed: {failed[0]}" if failed else f"did not start within {START} s"
        raise TunelineError(
            f"Ray at {address or 'this machine'} {how}",
            fix="run again: what is finished is kept; or without Ray (sweep.engine: processes)",
        )
    try:
        yield ray
    finally:
        ray.shutdown()
        over.set()


OPENERS: dict[str, Callable[[SweepSettings], Any]] = {"ray": _on_ray, "processes": _children}
