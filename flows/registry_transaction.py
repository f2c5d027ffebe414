"""Registering as one transaction: upload, hash check, answers, then the alias, or nothing."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows import registry
from flows.registry_alias import CHALLENGER, alone, champion, swap
from flows.registry_check import PROBES, inspect
from flows.store import client

Request = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """What is to be registered. `probes` are asked of it, now and before every later promotion.

    `check` raises if the answer to the first probe is not the exported file's own.
    """

    shipped: registry.Shipped
    probes: Sequence[Request]
    promote: bool
    check: Callable[[registry.Shipped, str], None]


def commit(run: str, entry: Entry) -> str:
    """Register `entry` and return its version: `challenger`, and `champion` if it may be.

    A version that does not hold the right bytes, or answers otherwise than the exported file, is
    taken out of the registry again: nothing half-made stays, and no alias has moved.

    Raises:
        RegistryError: the store gives back other bytes than it was given.
        ModelError: the version does not answer as the file does.
        ConflictError: another champion came while this was going on; the version stays, as
            challenger.
    """
    shipped = entry.shipped
    before = champion(shipped.name)
    number = registry.register_version(run, shipped)
    try:
        shown = inspect(shipped.name, number, entry.probes, shipped.tags[registry.HASH])
        entry.check(shipped, shown.answers[0])
    except BaseException:
        if number not in _aliased(shipped.name):  # an earlier run of this very version was sound
            client().delete_model_version(shipped.name, number)
        raise
    asked = [
        {"request": dict(request), "answer": answer}
        for request, answer in zip(entry.probes, shown.answers, strict=True)
    ]
    store = client()
    store.set_model_version_tag(shipped.name, number, PROBES, json.dumps(asked))
    with alone(store, shipped.name):
        store.set_registered_model_alias(shipped.name, CHALLENGER, number)
    if entry.promote:
        swap(shipped.name, before, number, "gate")
    return number


def _aliased(name: str) -> set[str]:
    return {str(v) for v in client().get_registered_model(name).aliases.values()}
