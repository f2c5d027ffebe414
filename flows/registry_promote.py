"""Promotion and rollback: a version is checked, then the alias moves, or stays where it is."""

import time
from dataclasses import dataclass

from flows.registry_alias import Move, champion, moves, reigns, swap
from flows.registry_check import HASH, Shown, need_sound
from flows.registry_errors import RegistryError
from flows.registry_ref import Found, find
from flows.store import client

DRILL = "rollback-drill"


@dataclass(frozen=True)
class Done:
    """What a promotion or rollback did. `move` is `None` where nothing had to change, and in a
    drill; `shown` is `None` where nothing had to be checked.
    """

    name: str
    before: str | None
    version: str
    shown: Shown | None = None
    move: Move | None = None
    seconds: float = 0.0


def promote(reference: str, *, note: str = "", answers: bool = True) -> Done:
    """Make a version champion, if its verdict allows it and it is still what was judged.

    Raises:
        RegistryError: there is no such version, its verdict does not allow it, or it is not sound.
        ConflictError: another one became champion meanwhile.
    """
    started = time.monotonic()
    found = find(reference)
    before = champion(found.name)
    if before == found.version:
        return Done(found.name, before, found.version)
    need_verdict(found)
    shown = need_sound(found.name, found.version, answers=answers)
    move = swap(found.name, before, found.version, "promote", note)
    return Done(found.name, before, found.version, shown, move, time.monotonic() - started)


def rollback(name: str, *, drill: bool = False, note: str = "", answers: bool = True) -> Done:
    """Make the champion before this one champion again; a `drill` does all but that.

    A drill sets and removes an alias of its own, so that it has written to the registry too.

    Raises:
        RegistryError: there is no earlier champion, it was deleted, or it is not sound.
        ConflictError: another one became champion meanwhile.
    """
    started = time.monotonic()
    current = find(f"{name}@champion")
    found = find_earlier(current)
    shown = need_sound(name, found.version, answers=answers)
    move = None
    if drill:
        client().set_registered_model_alias(name, DRILL, found.version)
        client().delete_registered_model_alias(name, DRILL)
    else:
        move = swap(name, current.version, found.version, "rollback", note)
    return Done(name, current.version, found.version, shown, move, time.monotonic() - started)


def find_earlier(current: Found) -> Found:
    """Return the last champion before this one that holds other bytes: a run whose report alone
    changed registers the same file again, and going back to that would change nothing.

    Raises `RegistryError` if there is none, or if it is not there any more.
    """
    past = reigns(moves(current.name), current.version)[:-1]
    for number in reversed(past):
        earlier = _still_there(current, number)
        if earlier.tags.get(HASH) is None or earlier.tags.get(HASH) != current.tags.get(HASH):
            return earlier
    same = f" with other bytes than its own ({', '.join(past)} hold the same)" if past else ""
    raise RegistryError(
        f"no champion of {current.name} before version {current.version}{same} is known",
        fix=f"choose a version yourself: tuneline promote {current.name}@VERSION",
    )


def _still_there(current: Found, number: str) -> Found:
    try:
        return find(f"{current.name}@{number}")
    except RegistryError as error:
        raise RegistryError(
            f"version {number}, a champion before version {current.version}, has been deleted",
            fix=f"choose another one: tuneline promote {current.name}@VERSION",
        ) from error


def need_verdict(found: Found) -> None:
    """Raise `RegistryError` unless the gate has let this version become champion."""
    verdict = found.tags.get("verdict")
    if verdict == "promote":
        return
    told = found.tags.get("verdict.reasons") or "no verdict is known of it"
    raise RegistryError(
        f"the verdict on {found.title} does not allow it to become champion: {told}",
        fix="promote a version that the gate let pass, or change what the recipe demands and run",
    )
