"""The champion step: brings the files of the version that is in use now, to answer beside the new.

It runs only when there are new files to compare, so a promotion at the end of a run makes nothing
stale: the champion of that moment stands in the lock, and the next new file meets the next one.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from components.contracts.errors import ArtefactError
from components.contracts.events import Context
from components.contracts.kinds import Champion, Onnx

ALIAS = "champion"


class Named(Protocol):
    """The recipe's registry section."""

    @property
    def name(self) -> str: ...


def champion(onnx: Onnx, settings: Named, *, out: Path, context: Context) -> Champion:
    """Copy the exported folder of the registry's champion to `model`; without one, nothing.

    `onnx` is not read: it is what the champion will be compared with. The facts name no version and
    no run: the same champion gives the same bytes.

    Raises:
        ArtefactError: the registry's champion was not made by this line, or is not whole.
    """
    from flows import store

    del onnx
    version = store.champion_version(settings.name)
    with Champion.write(out) as draft:
        if version is None:
            context.events.note(f"{settings.name} has no champion yet")
            draft.facts = {"there": False}
        else:
            context.events.note(f"{settings.name} version {version.version} is champion")
            facts = bring(version, draft.folder)
            draft.facts = {"there": True, "name": settings.name, **facts}
    return Champion.open(out)


def bring(version: Any, folder: Path) -> dict[str, Any]:
    """Copy a version's exported files to `folder`/model; return what is known of them."""
    from flows import store

    logged, model = folder / "logged", folder / "model"
    flavor: Mapping[str, Any] = store.download(version, logged)
    path = flavor.get("artifacts", {}).get("model", {}).get("path")
    source = logged / str(path)
    if path is None or not (source / "model.onnx").is_file():
        raise ArtefactError(
            f"version {version.version} of {version.name} is champion, but holds no exported file "
            "of this line to compare with",
            fix=f"move the alias '{ALIAS}' to another version, or delete it",
        )
    source.rename(model)
    shutil.rmtree(logged)
    return {
        "sha256": str(version.tags.get("model.sha256", "")),
        "ship": str(version.tags.get("ship", Path(str(path)).name)),
        "device": str(flavor.get("config", {}).get("device", "cpu")),
    }
