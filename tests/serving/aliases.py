"""Aliases moved as the registry moves them, without a gate before it."""

from flows.store import client


def set_aliases(name: str, number: str, aliases: list[str]) -> None:
    for alias in aliases:
        client().set_registered_model_alias(name, alias, number)
