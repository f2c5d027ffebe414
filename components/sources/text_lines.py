"""Lines of a UTF-8 file, with the place of the first byte that is not UTF-8."""

from collections.abc import Iterator
from pathlib import Path

from components.contracts.errors import DataError

BOM = "\ufeff"


def text_lines(file: Path) -> Iterator[str]:
    """Yield decoded lines with their line ends; raise `DataError` naming line and byte offset."""
    start = 0
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            yield _decoded(line, file, number, start)
            start += len(line)


def _decoded(line: bytes, file: Path, number: int, start: int) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file.name}:{number}: byte 0x{line[error.start]:02x} at offset "
            f"{start + error.start} of the file is not UTF-8",
            fix=f"convert the file, for example: iconv -f WINDOWS-1252 -t UTF-8 {file.name}",
        ) from error
    return text.removeprefix(BOM) if number == 1 else text
