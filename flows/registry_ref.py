"""`MODEL@VERSION` and `MODEL@ALIAS`: which version of the registry is meant."""

from dataclasses import dataclass, field

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from components.contracts.errors import did_you_mean
from flows.registry_alias import LOCK
from flows.registry_errors import RegistryError
from flows.store import client


@dataclass(frozen=True)
class Found:
    """A version as the registry has it now."""

    name: str
    version: str
    run: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.name}@{self.version}"


def find(text: str) -> Found:
    """Return the version that `MODEL@VERSION`, `MODEL@ALIAS` or `models:/…` names.

    Raises `RegistryError` saying what the registry has instead.
    """
    name, at, which = text.removeprefix("models:/").replace("/", "@").partition("@")
    if not (name and at and which):
        raise RegistryError(
            f"'{text}' names no version of a model",
            fix="write MODEL@VERSION or MODEL@ALIAS: sentiment@3, sentiment@champion",
        )
    store = client()
    try:
        if which.isdigit():
            version = store.get_model_version(name, which)
        else:
            version = store.get_model_version_by_alias(name, which)
    except MlflowException as error:
        raise _missing(name, which) from error
    return _found(version)


def find_champion(name: str) -> Found:
    """Return the champion of a model; `name` may bear `@champion`."""
    return find(f"{name.partition('@')[0]}@champion")


def _found(version: ModelVersion) -> Found:
    return Found(str(version.name), str(version.version), version.run_id, dict(version.tags))


def _missing(name: str, which: str) -> RegistryError:
    store = client()
    names = [m.name for m in store.search_registered_models() if not m.name.endswith(LOCK)]
    if name not in names:
        return RegistryError(
            f"the registry has no model '{name}'{did_you_mean(name, names)}",
            fix=f"use one of: {', '.join(names)}" if names else "tuneline run RECIPE makes one",
        )
    numbers = sorted(int(v.version) for v in store.search_model_versions(f"name = '{name}'"))
    aliases = sorted(store.get_registered_model(name).aliases)
    told = ", ".join([*aliases, *map(str, numbers)])
    what = "version" if which.isdigit() else "alias"
    return RegistryError(
        f"{name} has no {what} '{which}'{did_you_mean(which, aliases)}",
        fix=f"it has: {told or 'nothing'}",
    )
