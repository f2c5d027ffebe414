"""A .json file: one list of objects, read an object at a time, or JSON Lines by another name."""

import json
from collections.abc import Iterator
from typing import Any

from components.contracts.errors import DataError
from components.sources import jsonl
from components.sources.json_values import DECODER, not_json
from components.sources.origin import Row, RowFile
from components.sources.settings import ReadSettings
from components.sources.text_input import LONGEST, text_pieces, too_long

MARGIN = 16
"""A fault this near to the end of what was read may only be a value that is cut in two there."""


def read(file: RowFile, settings: ReadSettings) -> Iterator[Row]:
    """Yield 1-based row number and object (or line and object where it is JSON Lines)."""
    window = Window(file)
    first = window.peek()
    if first == "{":
        yield from jsonl.read(file, settings)
        return
    if first not in ("[", ""):
        raise DataError(
            f"{file.name}:{window.line}: {first!r} where a JSON list of objects should begin",
            fix='write the rows as [{"column": value, …}, …]',
        )
    yield from _elements(window) if first else ()


def _elements(window: "Window") -> Iterator[Row]:
    window.take()
    number = 0
    while not (number == 0 and window.peek() == "]"):
        number += 1
        yield number, window.value(number)
        between = window.peek()
        if between == "]":
            break
        if between != ",":
            raise window.fault(f"row {number} ends, then {between!r} where ',' or ']' should be")
        window.take()
    window.take()
    if window.peek():
        raise window.fault("there is text after the end of the list")


class Window:
    """The part of a file that is being looked at: `text` from `at` on; `line` counts from 1."""

    def __init__(self, file: RowFile) -> None:
        self.name = file.name
        self.pieces = text_pieces(file)
        self.text = ""
        self.at = 0
        self.lines_before = 0

    @property
    def line(self) -> int:
        return self.lines_before + self.text.count("\n", 0, self.at) + 1

    def peek(self) -> str:
        """Return the next character that is no white space, "" at the end of the file."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in " \t\r\n":
                    return self.text[self.at]
                self.at += 1
            if not self._read_on(1):
                return ""

    def take(self) -> None:
        """Step over one character."""
        self.at += 1

    def value(self, number: int) -> dict[str, Any]:
        """Return the next object and step over it; raise `DataError` if there is none."""
        if self.peek() != "{":
            raise self.fault(f"row {number} is not a JSON object")
        while True:
            try:
                value, self.at = DECODER.raw_decode(self.text, self.at)
                return dict(value)  # what begins with a brace is an object
            except json.JSONDecodeError as error:
                # What is cut in two at the end of the window is no fault yet.
                cut = error.msg.startswith("Unterminated") or error.pos > len(self.text) - MARGIN
                if not (cut and self._read_on(len(self.text) - self.at)):
                    place = f"{self.name}:{self.line}: row {number}"
                    raise not_json(place, error, self.text[self.at : self.at + 80]) from error
            except (ValueError, RecursionError) as error:
                place = f"{self.name}:{self.line}: row {number}"
                raise not_json(place, error, self.text[self.at : self.at + 80]) from error

    def fault(self, said: str) -> DataError:
        """Return an error at this place."""
        found = self.text[self.at : self.at + 80]
        return DataError(
            f"{self.name}:{self.line}: {said}: {found!r}",
            fix='the file must be one list of objects: [{"column": value, …}, …]',
        )

    def _read_on(self, wanted: int) -> bool:
        """Drop what is done and read at least `wanted` more characters; say whether there were."""
        self.lines_before = self.line - 1
        parts, self.at, more = [self.text[self.at :]], 0, 0
        if len(parts[0]) > LONGEST:
            raise too_long(f"{self.name}:{self.lines_before + 1}")
        while more < wanted and (piece := next(self.pieces, "")):
            parts.append(piece)
            more += len(piece)
        self.text = "".join(parts)
        return more > 0
