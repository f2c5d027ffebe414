"""Rows and models of the Hugging Face hub, at a pinned commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.contracts.errors import SourceError
from components.contracts.events import Context
from components.sources.model_folder import PATTERNS, copy_model
from components.sources.origin import Origin, Row, placed
from components.sources.settings import HubModel, HubRows

FIX = "check name and revision, the network and, for a gated one, `hf auth login`"


@contextmanager
def open_rows(settings: HubRows, context: Context) -> Iterator[Origin]:
    """Give the rows of one split."""
    from datasets import load_dataset

    try:
        rows = load_dataset(
            settings.name,
            settings.config,
            split=settings.split,
            revision=settings.revision,
            cache_dir=str(context.scratch / "hub-datasets"),
        )
    # datasets raises OSError and ValueError subclasses for what a user can mend
    except (OSError, ValueError) as error:
        raise _unreachable(f"dataset {settings.name}", settings.revision, error) from error
    facts = {
        "kind": "hub",
        "name": settings.name,
        "config": settings.config,
        "split": settings.split,
        "revision": settings.revision,
    }
    name = f"{settings.name}:{settings.split}"
    yield Origin(name, settings.license, facts, placed(name, _numbered(rows)))


def bring_model(settings: HubModel, folder: Path, context: Context) -> None:
    """Copy a model at its commit to `folder`, as it is on the hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name = settings.model_name_or_path
    try:
        place = snapshot_download(
            name,
            revision=settings.revision,
            cache_dir=str(context.scratch / "hub-models"),
            allow_patterns=list(PATTERNS),
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise _unreachable(f"model {name}", settings.revision, error) from error
    copy_model(Path(place), folder, name)


def _numbered(rows: Iterator[dict[str, object]]) -> Iterator[Row]:
    for number, fields in enumerate(rows, start=1):
        yield number, dict(fields)


def _unreachable(what: str, revision: str, error: Exception) -> SourceError:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return SourceError(f"{what} at {revision} cannot be read from the hub: {said[0]}", fix=FIX)
