"""The champion alias: moved by compare-and-swap, and every move written down.

MLflow sets an alias unconditionally. What every store of it does atomically is to refuse a
registered model whose name exists. So whoever moves an alias of NAME first creates a registered
model `NAME.alias-lock`, and deletes it afterwards: that excludes all others, also on other machines
that use the same server.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from flows.holder import holder, let_go_of_dead
from flows.person import who
from flows.registry_errors import ConflictError, RegistryError
from flows.store import champion_version, client

CHAMPION, CHALLENGER = "champion", "challenger"
LOCK = ".alias-lock"
MOVE = "champion.move."
WAIT_S, PAUSE_S = 20.0, 0.1
EXISTS = "RESOURCE_ALREADY_EXISTS"

Why = Literal["gate", "promote", "rollback"]


@dataclass(frozen=True)
class Move:
    """One change of the champion: from version (`None`: there was none) to version, why, when, who.

    `note` is what a person said about it.
    """

    before: str | None
    to: str
    why: Why
    at: str
    by: str
    note: str = ""


def champion(name: str) -> str | None:
    """Return the version that is champion now, `None` without one."""
    found = champion_version(name)
    return None if found is None else str(found.version)


def swap(name: str, expected: str | None, to: str, why: Why, note: str = "") -> Move:
    """Make version `to` champion if version `expected` still is (`None`: nobody); write it down.

    Raises `ConflictError`, and changes nothing, if another one is champion by now.
    """
    store = client()
    with alone(store, name):
        current = champion(name)
        move = Move(current, to, why, datetime.now(UTC).isoformat(timespec="seconds"), who(), note)
        if current == to:  # another one has wanted the same, or a crash came before this was noted
            last = moves(name)[-1:]
            if not last or last[0].to != to:
                _note(store, name, replace(move, before=last[0].to if last else None))
            return move
        if current != expected:
            raise _lost(name, expected, current, to)
        store.set_registered_model_alias(name, CHAMPION, to)
        _note(store, name, move)
    return move


def _note(store: MlflowClient, name: str, move: Move) -> None:
    key = f"{MOVE}{len(moves(name)) + 1:06}"
    store.set_registered_model_tag(name, key, json.dumps(asdict(move), sort_keys=True))


def moves(name: str) -> list[Move]:
    """Return every change of the champion that went through here, oldest first."""
    tags = client().get_registered_model(name).tags
    return [Move(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(MOVE)]


def reigns(past: Sequence[Move], current: str | None) -> list[str]:
    """Return the champions that a rollback would go back through, the present one last.

    A promotion adds one, a rollback takes one away. An alias that was moved by hand counts as
    promoted, unless it was moved back to an earlier champion.
    """
    stack: list[str] = []
    for move in past:
        _go(stack, move.to, back=move.why == "rollback")
    if current is not None and stack[-1:] != [current]:
        _go(stack, current, back=True)
    return stack


def _go(stack: list[str], to: str, *, back: bool) -> None:
    if back and to in stack:
        del stack[len(stack) - stack[::-1].index(to) :]
    else:
        stack.append(to)


@contextmanager
def alone(store: MlflowClient, name: str) -> Iterator[None]:
    """Keep all others from moving an alias of `name` as long as the block runs.

    Waits for another one that is at it; raises `ConflictError` naming it if that takes too long.
    What a process of this machine held when it died is taken from it.
    """
    lock, end = f"{name}{LOCK}", time.monotonic() + WAIT_S
    while not _created(store, lock):
        if let_go_of_dead(store, lock):
            continue
        if time.monotonic() > end:
            raise _held(store, name, lock)
        time.sleep(PAUSE_S)
    try:
        yield
    finally:
        store.delete_registered_model(lock)


def _created(store: MlflowClient, lock: str) -> bool:
    told = f"{who()} since {datetime.now(UTC).isoformat(timespec='seconds')}"
    try:
        store.create_registered_model(lock, tags=holder(), description=told)
    except MlflowException as error:
        if error.error_code == EXISTS:
            return False
        raise
    return True


def _held(store: MlflowClient, name: str, lock: str) -> RegistryError:
    try:
        told = str(store.get_registered_model(lock).description)
    except MlflowException:
        told = "somebody who has just let go"
    return ConflictError(
        f"an alias of {name} is being moved by {told}",
        fix=f"try again; if that one has crashed, delete the registered model '{lock}' first",
    )


def _lost(name: str, expected: str | None, current: str | None, to: str) -> ConflictError:
    last = moves(name)[-1:]
    by = f" ({last[0].why} by {last[0].by}, {last[0].at})" if last and last[0].to == current else ""
    was = f"version {expected}" if expected else "there was no champion"
    now = f"version {current}{by} is champion of {name}" if current else f"{name} has no champion"
    return ConflictError(
        f"{now} by now; when this began it was {was}. Version {to} was not promoted",
        fix=f"if it should replace that one: tuneline promote {name}@{to}",
    )
