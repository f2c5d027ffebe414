"""Copies of texts with a share of their words or characters edited, as people and tools do."""

import random
import string
from collections.abc import Callable

INSERTED = ("really", "the", "so", "just", "very", "and", "now", "today")
Edit = Callable[[str, random.Random, float], str]


def edit_words(text: str, rng: random.Random, share: float = 0.1) -> str:
    """Edit a share of the words, at least one: each a deletion, a swap with the next, an insertion,
    a typo, another case or a punctuation mark."""
    words = text.split()
    for _ in range(max(1, round(share * len(words)))):
        place = rng.randrange(len(words))
        kind = rng.choice(("delete", "swap", "insert", "typo", "case", "punctuation"))
        if kind == "delete" and len(words) > 1:
            del words[place]
        elif kind == "swap" and len(words) > 1:
            place = min(place, len(words) - 2)
            words[place : place + 2] = words[place + 1], words[place]
        elif kind == "insert":
            words.insert(place, rng.choice(INSERTED))
        elif kind == "typo":
            words[place] = _typo(words[place], rng)
        elif kind == "case":
            words[place] = words[place].swapcase()
        else:
            words[place] += rng.choice(".,!?")
    return " ".join(words)


def edit_characters(text: str, rng: random.Random, share: float = 0.1) -> str:
    """Make typos in a share of the characters, at least one, anywhere in the text."""
    for _ in range(max(1, round(share * len(text)))):
        text = _typo(text, rng)
    return text


EDITS: dict[str, Edit] = {"words": edit_words, "characters": edit_characters}


def _typo(text: str, rng: random.Random) -> str:
    """Delete, insert, replace or swap one character."""
    if not text:
        return rng.choice(string.ascii_lowercase)
    place = rng.randrange(len(text))
    before, here, after = text[:place], text[place], text[place + 1 :]
    new = rng.choice(string.ascii_lowercase)
    return rng.choice(
        (before + after, before + new + here + after, before + new + after, _swapped(text, place))
    )


def _swapped(text: str, place: int) -> str:
    return text[:place] + text[place + 1 : place + 2] + text[place : place + 1] + text[place + 2 :]
