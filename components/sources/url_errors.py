"""File systems by URL, and what went wrong with them in words."""

import sys
from typing import Any
from urllib.parse import urlsplit

from components.contracts.errors import (
    SourceError,
    SpaceError,
    TunelineError,
    UnreachableError,
    did_you_mean,
)
from components.sources.settings import NO_SECRETS, UrlRows

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""Scheme of a URL → the extra of this package that brings its file system."""

OWN_FAULTS = (
    "aiohttp:ClientError",
    "botocore.exceptions:BotoCoreError",
    "gcsfs.retry:HttpError",
    "google.auth.exceptions:GoogleAuthError",
)
"""Errors of the libraries beneath that are no `OSError`; looked up only once these are loaded."""

REFUSED = ("NoCredentialsError", "PartialCredentialsError", "GoogleAuthError", "PermissionError")


def open_filesystem(settings: UrlRows) -> tuple[Any, str]:
    """Return the file system and the path on it; raise `SourceError` naming what is missing."""
    import fsspec

    scheme = urlsplit(settings.url).scheme
    try:
        filesystem, path = fsspec.core.url_to_fs(settings.url, **settings.storage_options)
    except ImportError as error:
        extra = EXTRAS.get(scheme)
        raise SourceError(
            f"{settings.url}: a package is missing that reads {scheme}:// ({error})",
            fix=f'pip install "tuneline[{extra}]"' if extra else str(error),
        ) from error
    except (ValueError, TypeError) as error:
        known = fsspec.available_protocols()
        unknown = scheme not in known
        raise SourceError(
            f"{settings.url}: "
            + (f"no file system is known for {scheme}://" if unknown else str(error))
            + (did_you_mean(scheme, known) if unknown else ""),
            fix="https, s3 and gs are usual" if unknown else "correct source.storage_options",
        ) from error
    return filesystem, str(path)


def trouble() -> tuple[type[BaseException], ...]:
    """Return the errors by which file systems tell that something is not as it should be."""
    pairs = [name.split(":") for name in OWN_FAULTS]
    loaded = [(sys.modules[module], name) for module, name in pairs if module in sys.modules]
    return (OSError, TimeoutError, *(getattr(module, name) for module, name in loaded))


def explain(error: BaseException, url: str) -> TunelineError:
    """Return an error that names the next move."""
    # fsspec calls whatever a web server does not answer a missing file, and keeps the reason.
    if isinstance(error.__cause__, trouble()):
        error = error.__cause__
    said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    names = {one.__name__ for one in type(error).__mro__}
    status = getattr(error, "status", None)
    if isinstance(error, OSError) and error.errno == 28:
        return SpaceError(
            f"no room left on the disk while downloading {url}",
            fix="free some space and run again: what is done is kept",
        )
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return SourceError(f"{url} does not exist ({said})", fix="correct source.url")
    if names & set(REFUSED) or status in (401, 403):
        return SourceError(f"{url} may not be read ({said})", fix=NO_SECRETS)
    return UnreachableError(
        f"{url} cannot be read: {type(error).__name__}: {said}",
        fix="check the address and the network and run again: what is done is kept",
    )
