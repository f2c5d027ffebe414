"""Rows behind a URL, downloaded once through fsspec and then read as local files."""

from collections.abc import Iterator
from contextlib import contextmanager

from components.contracts.events import Context
from components.sources.many import identity, read_all
from components.sources.origin import Origin
from components.sources.settings import UrlRows
from components.sources.url_download import download


@contextmanager
def open_rows(settings: UrlRows, context: Context) -> Iterator[Origin]:
    """Give the rows of the file or files behind a URL."""
    files = download(settings, context)
    found = identity(files)
    if settings.sha256 is None:
        context.events.note(
            f"{settings.url} is not pinned, so a change there is not seen; "
            f"this time it has sha256: {found['sha256']}"
        )
    facts = {
        "kind": "url",
        "name": settings.url,
        "pinned": settings.sha256 is not None,
        **found,
    }
    name = files[0].name if len(files) == 1 else settings.url
    yield Origin(name, settings.license, facts, read_all(files, settings.read, settings.url))
