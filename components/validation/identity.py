"""What makes two rows the same, and what puts a row into its split for good."""

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from components.formats.example import Example
from components.validation.settings import SplitSettings

SPLITS = ("train", "validation", "test")


def duplicate_key(text: str, kind: str) -> str:
    """Return what two equal texts share; see `ValidationSettings.duplicate_key`."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    if kind == "words":
        return " ".join(re.findall(r"[^\W_]+", plain)) or plain
    return plain


def row_id(example: Example) -> str:
    """Return 16 hex digits over the content of an example."""
    content = json.dumps([example.messages, example.text, example.target], ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def split_of(key: str, settings: SplitSettings) -> str:
    """Return the split of a row: it depends on the row's key and the seed, never on other rows."""
    digest = hashlib.sha256(f"{settings.seed}\n{key}".encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < settings.train:
        return "train"
    return "validation" if place < settings.train + settings.validation else "test"


def groups(keys: Sequence[str]) -> list[list[int]]:
    """Return the indices of the rows that share a key, for keys that occur more than once."""
    places: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        places[key].append(index)
    return [group for group in places.values() if len(group) > 1]
