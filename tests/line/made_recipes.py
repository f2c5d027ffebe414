"""Recipes on made-up rows of other formats than the tiny recipe's, small enough for a test."""

import json
import random
from pathlib import Path
from typing import Any

from flows.recipe import Recipe

THINGS = ("lamp", "kettle", "chair", "clock", "jacket", "bottle", "camera", "radio", "table", "pen")
PLACES = ("kitchen", "garden", "office", "attic", "station", "market", "cellar", "library")


def made_recipe(root: Path, name: str, rows: list[dict[str, Any]], **sections: Any) -> Recipe:
    """Write `rows` where the recipe `name` looks for them and return the recipe."""
    folder = root / "data" / "inputs" / name
    folder.mkdir(parents=True)
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    settings: dict[str, Any] = {
        "source": {"kind": "file", "path": f"data/inputs/{name}/rows.jsonl"},
        "validation": {"min_rows": 20, "splits": {"train": 0.6, "validation": 0.1, "test": 0.3}},
        "model": {"kind": "random", "hidden_size": 64, "num_hidden_layers": 2},
        "tokenization": {"max_length": 192},
        "training": {},
        "evaluation": {},
        "export": {"variants": ["fp32", "int8"]},
        "verification": {"parity_prompts": 4, "parity_new_tokens": 4},
        "gate": {"ship": "int8", "min_items": 20, "alpha": 1e-3, "max_perplexity_rise": 0.1},
        "report": {"samples": 3},
        "registry": {"name": name},
    }
    for key, changes in sections.items():
        settings[key] = {**settings.get(key, {}), **changes}
    return Recipe.model_validate(settings)


def text_rows(count: int) -> list[dict[str, Any]]:
    """Return plain sentences with little variety, each row another one."""
    rng = random.Random(0)
    made = {
        f"The {rng.choice(THINGS)} number {rng.randrange(900)} stood in the {rng.choice(PLACES)}."
        for _ in range(2 * count)
    }
    return [{"text": text} for text in sorted(made)[:count]]


def preference_rows(count: int) -> list[dict[str, Any]]:
    """Return questions whose preferred answer is polite and names the place asked for."""
    rng = random.Random(1)
    rows = []
    for number in range(count):
        thing, place = rng.choice(THINGS), rng.choice(PLACES)
        rows.append(
            {
                "prompt": f"Where is {thing} {number}?",
                "chosen": f"Please look in the {place}.",
                "rejected": f"Who cares, the {place}?!",
            }
        )
    return rows


FEELINGS = {"glad": "good", "bright": "good", "grim": "poor", "dull": "poor", "plain": "fair"}


def labelled_rows(count: int) -> list[dict[str, Any]]:
    """Return short texts whose label the first word tells."""
    rng = random.Random(2)
    words = [rng.choice(sorted(FEELINGS)) for _ in range(count)]
    return [
        {"text": f"{word} {rng.choice(THINGS)} {number}", "label": FEELINGS[word]}
        for number, word in enumerate(words)
    ]
