"""What people said of the answers, where they were asked: `tuneline judge` writes it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contracts.artefacts import Artefact


def judged_rows(folder: Path | None, artefacts: Mapping[str, Artefact]) -> list[dict[str, Any]]:
    """Return the results in `folder`, those with ratings only; nothing where it is missing.

    `current` says whether the answers that were judged are those of `artefacts`.
    """
    files = sorted(folder.glob("*/result.json")) if folder is not None else []
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    digests = {name: artefact.digest for name, artefact in artefacts.items()}
    return [
        {**one, "current": _current(one["made_from"], digests)} for one in found if one["ratings"]
    ]


def _current(made_from: Mapping[str, str], digests: Mapping[str, str]) -> bool:
    return all(digests.get(name, digest) == digest for name, digest in made_from.items())
