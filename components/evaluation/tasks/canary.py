"""Privacy probe: secrets of the training data, ranked among random ones of their shape.

Carlini et al. 2019, "The Secret Sharer" (arXiv:1802.08232).
"""

import random
import string
from collections.abc import Mapping, Sequence
from typing import Any

from components.contracts.errors import DataError
from components.evaluation.probe_settings import CanaryProbe
from components.evaluation.prompts import Prompter
from components.evaluation.tasks.prompting import question, text_of
from components.scoring.requests import Plan, Request

VERSION = 1
MEASURES = ("exposure", "extracted")
SHAPES = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


def plan(settings: CanaryProbe, name: str) -> Plan:
    return Plan(name, settings.task, VERSION, "canary", MEASURES)


def requests(
    rows: Sequence[Mapping[str, Any]], settings: CanaryProbe, prompter: Prompter
) -> list[Request]:
    """Return a request a canary: the secret first, then its alternatives.

    Raises `DataError` for a secret that has too few others of its shape.
    """
    made = []
    for number, row in enumerate(rows, start=1):
        secret = text_of(row, "secret", settings, number)
        rng = random.Random(f"{settings.seed}/{number}")
        others = alternatives(secret, settings.alternatives, rng)
        asked = question(str(number), text_of(row, "prefix", settings, number), [secret, *others])
        prompt, choices = prompter.choices(asked)
        made.append(
            Request(
                str(number),
                prompt,
                choices=choices,
                choice_characters=tuple(map(len, asked.choices)),
                choice_bytes=tuple(len(word.encode()) for word in asked.choices),
                target=0,
            )
        )
    return made


def alternatives(secret: str, count: int, rng: random.Random) -> list[str]:
    """Return `count` random texts of the secret's shape, none twice and none the secret.

    Raises `DataError` if there are not so many.
    """
    shapes = [next((s for s in SHAPES if letter in s), letter) for letter in secret]
    space = 1
    for shape in shapes:
        space *= len(shape)
    if space <= count:
        raise DataError(
            f"the secret '{secret}' has only {space - 1} others of its shape, and {count} are "
            "asked for",
            fix="lower alternatives, or plant longer secrets of digits and letters",
        )
    found: dict[str, None] = {}
    while len(found) < count:
        made = "".join(rng.choice(shape) for shape in shapes)
        if made != secret:
            found[made] = None
    return list(found)
