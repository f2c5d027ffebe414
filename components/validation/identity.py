"""What makes two rows the same, and what puts a row into its split for good."""

import hashlib
import json
import re
import unicodedata

from components.formats.example import Example
from components.validation.settings import SplitSettings

SPLITS = ("train", "validation", "test")

as_json = json.JSONEncoder(ensure_ascii=False).encode
"""JSON of a value as `json.dumps` writes it, without making an encoder each time."""

WORD = re.compile(r"[^\W_]+")


def duplicate_key(text: str, kind: str) -> str:
    """Return what two equal texts share; see `ValidationSettings.duplicate_key`."""
    plain = " ".join((text if text.isascii() else _composed(text)).casefold().split())
    if kind == "words":
        return " ".join(WORD.findall(plain)) or plain
    return plain


def fingerprint(key: str) -> int:
    """Return 64 bits over a duplicate key: equal for equal texts, and nothing else to be read."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def place(key: str, seed: int) -> int:
    """Return where a key lies on the line from 0 to 2^64 that the splits divide."""
    digest = hashlib.sha256(f"{seed}\n{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


def split_of(key: str, settings: SplitSettings) -> str:
    """Return the split of a row: it depends on the row's key and the seed, never on other rows."""
    at = place(key, settings.seed) / 2**64
    if at < settings.train:
        return "train"
    return "validation" if at < settings.train + settings.validation else "test"


def row_id(example: Example, messages: str) -> str:
    """Return 16 hex digits over the content of an example; `messages` are its turns as JSON."""
    content = f"[{messages}, {as_json(example.text)}, {example.target}]"
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFKC", text)
