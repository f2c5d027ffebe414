"""What a listing says of files behind a URL, without reading them: names, sizes, ETags."""

from components.sources.settings import UrlRows
from components.sources.url_download import Remote, listing
from components.sources.url_errors import explain, open_filesystem, trouble
from flows.recipe import Recipe
from flows.retrain_inputs import unpinned


def marks_of(settings: Recipe) -> dict[str, object]:
    """Return name → ETag (or what the file system has of that kind, or size) of unpinned rows.

    Empty for all other sources: these are named by hashes. Raises `UnreachableError` where the
    server does not answer.
    """
    if not (unpinned(settings) and isinstance(settings.source, UrlRows)):
        return {}
    return {one.name: one.mark or one.size for one in listed(settings.source)[1]}


def listed(source: UrlRows) -> tuple[object, list[Remote]]:
    """Return the file system behind a URL and the files of rows that it has there."""
    filesystem, path = open_filesystem(source)
    filesystem.invalidate_cache()  # within one process fsspec would tell an earlier listing again
    try:
        return filesystem, listing(filesystem, path, source.url)
    except trouble() as error:
        raise explain(error, source.url) from error
