"""`tuneline down`: stops what `tuneline up` has started, and all that those have started."""

import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

from flows.up_state import (
    MLFLOW,
    PREFECT,
    WORKER,
    Servers,
    alone,
    is_marked,
    marked,
    read_servers,
    write_servers,
)

PATIENCE_S = 20
ROUNDS = 3


def down(root: Path) -> list[str]:
    """Stop everything and return what was told of it, empty if nothing was up.

    The worker goes first, then flow runs and stages (SIGTERM: a training keeps a checkpoint), the
    servers last, so that runs can still report their end.
    """
    with alone(root):
        servers = read_servers(root)
        if servers is None:
            return []
        told = [
            f"{name:<8}{'stopped' if is_marked(one.pid, servers.mark) else 'had died'}"
            for name, one in servers.services.items()
        ]
        others = stop_services(root, servers)
        return told + ([f"{others} processes that they had started stopped"] if others else [])


def stop_services(root: Path, servers: Servers, only: Collection[str] | None = None) -> int:
    """Stop the services named (None: all, with every process they left); return how many others.

    Only processes that bear the mark of this `up` are touched.
    """
    wanted = servers.services.keys() if only is None else only
    pids = {name: servers.services[name].pid for name in wanted}
    others = 0
    end([pids[name] for name in (WORKER,) if name in pids], servers.mark)
    if only is None:
        kept = {pids.get(name) for name in (PREFECT, MLFLOW)}
        for _ in range(ROUNDS):
            left = [p.pid for p in marked(servers.mark) if not served(p, kept)]
            if not left:
                break
            others += len(left)
            end(left, servers.mark)
    for name in (MLFLOW, PREFECT):
        if name in pids:
            end(family(pids[name]), servers.mark)
    if only is None:
        end([p.pid for p in marked(servers.mark)], servers.mark)
    for name in list(wanted):
        servers.services.pop(name, None)
    write_servers(root, servers)
    return others


def served(process: Any, kept: Collection[int | None]) -> bool:
    """Say whether a process is one of the servers or of their own children."""
    import psutil

    try:
        return process.pid in kept or any(one.pid in kept for one in process.parents())
    except psutil.Error:
        return True


def family(pid: int) -> list[int]:
    """Return a process and all its children; empty if it is gone."""
    import psutil

    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.Error:
        return []


def end(pids: list[int], mark: str) -> None:
    """Ask processes to end, then make them; those without the mark are left alone."""
    import psutil

    processes = []
    for pid in pids:
        if is_marked(pid, mark):
            processes.append(psutil.Process(pid))
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            # psutil looks whether the id is still the same process before it signals
            if process.pid != os.getpid() and process.is_running():
                _signal(process, sign)
        _, processes = psutil.wait_procs(processes, timeout=PATIENCE_S)


def _signal(process: Any, sign: signal.Signals) -> None:
    import psutil

    try:
        process.send_signal(sign)
    except psutil.NoSuchProcess:
        return
