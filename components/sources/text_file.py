"""Text files: a row a file, a paragraph or a line, in the column `text`."""

from collections.abc import Iterator

from components.sources.origin import Row, RowFile
from components.sources.settings import ReadSettings
from components.sources.text_input import LONGEST, text_lines, too_long


def read(file: RowFile, settings: ReadSettings) -> Iterator[Row]:
    """Yield the line a row starts on and {"text": …}; blank lines only part paragraphs."""
    if settings.sample_by == "document":
        yield 1, {"text": _whole(file)}
        return
    block: list[str] = []
    start = 1
    for number, line in enumerate(text_lines(file), start=1):
        if line.strip() and not block:
            start = number
        if line.strip():
            block.append(line)
        if block and (settings.sample_by == "line" or not line.strip()):
            yield start, {"text": "".join(block).rstrip("\r\n")}
            block = []
    if block:
        yield start, {"text": "".join(block).rstrip("\r\n")}


def _whole(file: RowFile) -> str:
    lines, length = [], 0
    for line in text_lines(file):
        lines.append(line)
        length += len(line)
        if length > LONGEST:
            raise too_long(file.name)
    return "".join(lines)
