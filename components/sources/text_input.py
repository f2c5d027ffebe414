"""Text of a UTF-8 file, plain or compressed, a line or a piece at a time.

Faults name the line, and the offset of the first byte that is not UTF-8 (in the unpacked text).
"""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO

from components.contracts.errors import DataError
from components.sources.origin import RowFile

BOM = "\ufeff"
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""Ending → codec. Both check sums and read several members one after the other."""

PIECE = 1 << 20
LONGEST = 1 << 28
"""Bytes in one line or row. More of it is a broken file, which must not fill the memory."""


def suffix(name: str) -> str:
    """Return the last ending of a name in small letters, with its dot."""
    return Path(name).suffix.lower()


def inner_name(name: str) -> str:
    """Return a file's name without the ending of a compression."""
    return name[: -len(suffix(name))] if suffix(name) in COMPRESSIONS else name


def text_lines(file: RowFile) -> Iterator[str]:
    """Yield decoded lines with their line ends; raise `DataError` naming line and fault."""
    number = start = 0
    with open_bytes(file) as stream:
        while line := _next(stream, file, number + 1):
            number += 1
            yield _decoded(line, file, number, start)
            start += len(line)


def text_pieces(file: RowFile) -> Iterator[str]:
    """Yield decoded pieces of about a million characters; raise `DataError` naming the fault."""
    number, start, rest = 1, 0, b""
    with open_bytes(file) as stream:
        while piece := _next(stream, file, number, whole_lines=False):
            whole = rest + piece
            cut = _last_boundary(whole)
            rest = whole[cut:]
            if cut:
                yield _decoded(whole[:cut], file, number, start)
            number += whole.count(b"\n", 0, cut)
            start += cut
        if rest:
            yield _decoded(rest, file, number, start)


@contextmanager
def open_bytes(file: RowFile) -> Iterator[IO[bytes]]:
    """Give the bytes of a file, unpacked if its ending says that they are packed."""
    codec = COMPRESSIONS.get(suffix(file.name))
    if codec is None:
        with file.path.open("rb") as stream:
            yield stream
        return
    import pyarrow as pa

    with pa.OSFile(str(file.path)) as packed, pa.CompressedInputStream(packed, codec) as plain:
        yield BufferedReader(plain, PIECE)


def _next(stream: IO[bytes], file: RowFile, number: int, *, whole_lines: bool = True) -> bytes:
    try:
        taken = stream.readline(LONGEST) if whole_lines else stream.read(PIECE)
    except OSError as error:
        if suffix(file.name) not in COMPRESSIONS:
            raise
        raise DataError(
            f"{file.name}:{number}: the compressed data is cut off or damaged here ({error})",
            fix="bring or write the file again; `gzip -t` or `zstd -t` tests it",
        ) from error
    if whole_lines and len(taken) == LONGEST:
        raise too_long(f"{file.name}:{number}")
    return taken


def too_long(place: str) -> DataError:
    """Return the error for a line or row that does not end."""
    return DataError(
        f"{place}: longer than {LONGEST >> 20} MB: this is no row",
        fix="write one row a line (or one JSON list into a file that ends in .json); for long "
        "texts set source.read.sample_by: line or paragraph",
    )


def _last_boundary(data: bytes) -> int:
    """Return where the last character that is surely whole ends."""
    cut = len(data)
    for back in range(1, min(4, cut) + 1):
        byte = data[cut - back]
        if byte < 0x80:
            return cut
        if byte >= 0xC0:  # the first byte of a character, which may go on in the next piece
            return cut - back
    return cut


def _decoded(data: bytes, file: RowFile, number: int, start: int) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        number += data.count(b"\n", 0, error.start)
        utf_16 = start == 0 and data.startswith(UTF_16)
        guess = "UTF-16" if utf_16 else "WINDOWS-1252"
        raise DataError(
            f"{file.name}:{number}: byte 0x{data[error.start]:02x} at offset "
            f"{start + error.start} of the file is not UTF-8"
            + (" (it begins like UTF-16)" if utf_16 else ""),
            fix=f"convert the file, for example: iconv -f {guess} -t UTF-8 {file.name}",
        ) from error
    return text.removeprefix(BOM) if start == 0 else text
