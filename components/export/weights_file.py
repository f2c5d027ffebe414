"""The file of weights beside a graph: writing it anew, and giving it another name."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from components.contracts.onnx_weights import EXTERNAL, WEIGHTS, Place, place_of

ALIGNMENT = 64
CHUNK = 1 << 24


def put_at(tensor: Any, place: Place) -> None:
    """Say that a tensor lies at `place`."""
    tensor.ClearField("raw_data")
    tensor.ClearField("external_data")
    tensor.data_location = EXTERNAL
    for key, value in zip(("location", "offset", "length"), place, strict=True):
        tensor.external_data.add(key=key, value=str(value))


def view_of(tensor: Any, name: str, dims: tuple[int, ...]) -> Any:
    """Return another tensor over the very same bytes, with a name and a shape of its own."""
    import onnx

    other = onnx.TensorProto()
    other.CopyFrom(tensor)
    other.name = name
    del other.dims[:]
    other.dims.extend(dims)
    return other


@dataclass
class Writer:
    """Appends ranges of other files, and bytes, to one file; each of them is written once."""

    stream: BinaryIO
    folder: Path
    known: dict[Place | bytes, int]

    def put(self, place: Place) -> int:
        """Return the offset, in the new file, of the bytes that lie at `place`."""
        if place not in self.known:
            self.known[place] = self._begin()
            self._copy(place)
        return self.known[place]

    def put_bytes(self, data: bytes) -> int:
        """Return the offset, in the new file, of `data`."""
        key = hashlib.sha256(data).digest()
        if key not in self.known:
            self.known[key] = self._begin()
            self.stream.write(data)
        return self.known[key]

    def _begin(self) -> int:
        self.stream.write(bytes(-self.stream.tell() % ALIGNMENT))
        return self.stream.tell()

    def _copy(self, place: Place) -> None:
        name, offset, left = place
        with (self.folder / name).open("rb") as source:
            source.seek(offset)
            while left:
                piece = source.read(min(left, CHUNK))
                if not piece:
                    raise EOFError(f"{self.folder / name} ends before its weights do")
                self.stream.write(piece)
                left -= len(piece)


def write_weights(
    graph: Any, folder: Path, name: str = WEIGHTS, smallest: int | None = None
) -> None:
    """Write every external tensor of a graph to the file `name`, and only these.

    With `smallest`, tensors in the graph of that many bytes or more go there too. Offsets and
    lengths are 64 bits wide, whatever the size of the file. The files that held them before go.
    """
    temporary, before = folder / f".{name}.tmp", set[str]()
    with temporary.open("wb") as stream:
        writer = Writer(stream, folder, {})
        for tensor in graph.initializer:
            old = place_of(tensor)
            if old is not None:
                before.add(old[0])
                put_at(tensor, (name, writer.put(old), old[2]))
            elif smallest is not None and len(tensor.raw_data) >= smallest:
                size = len(tensor.raw_data)
                put_at(tensor, (name, writer.put_bytes(tensor.raw_data), size))
    for file in before:
        (folder / file).unlink()
    temporary.rename(folder / name)


def rename_weights(graph: Any, name: str) -> set[str]:
    """Let a graph's external tensors lie in the file `name`, at the same places.

    Returns the names of the files where they lay: this changes only the graph.
    """
    before = set[str]()
    for tensor in graph.initializer:
        place = place_of(tensor)
        if place is not None:
            before.add(place[0])
            put_at(tensor, (name, *place[1:]))
    return before
