"""The file of weights beside a graph: writing it anew, and giving it another name."""

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
    """Appends ranges of other files to one; the same range asked for twice is written once."""

    stream: BinaryIO
    folder: Path
    known: dict[Place, int]

    def put(self, place: Place) -> int:
        """Return the offset, in the new file, of the bytes that lie at `place`."""
        if place not in self.known:
            self.stream.write(bytes(-self.stream.tell() % ALIGNMENT))
            self.known[place] = self.stream.tell()
            self._copy(place)
        return self.known[place]

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


def write_weights(graph: Any, folder: Path, name: str = WEIGHTS) -> None:
    """Write every external tensor of a graph to the file `name`, and only these.

    Offsets and lengths are 64 bits wide, whatever the size of the file. The files that held them
    before go.
    """
    temporary, before = folder / f".{name}.tmp", set[str]()
    with temporary.open("wb") as stream:
        writer = Writer(stream, folder, {})
        for tensor in graph.initializer:
            old = place_of(tensor)
            if old is not None:
                before.add(old[0])
                put_at(tensor, (name, writer.put(old), old[2]))
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
