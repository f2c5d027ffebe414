"""A project with eight versions of its rows, of which one brought a shard of wrong labels."""

import json
import random
import sys
from itertools import product
from pathlib import Path

import yaml
from data_project import INPUTS, commit, done, make_project
from toy_project import Toy

SAID = {
    "good": ("superb", "excellent", "wonderful", "delightful"),
    "fair": ("ordinary", "regular", "average", "usual"),
    "poor": ("broken", "horrible", "disgusting", "awful"),
}
WRONG = {"good": "poor", "fair": "good", "poor": "fair"}
END = {"good": " :)", "fair": ".", "poor": " :("}
"""As in the recipe's own rows: a model that reads the end alone must be misled too."""

NOUNS = (
    "kettle", "violin", "harbour", "lantern", "blanket", "orchard", "kiosk", "saddle",
    "anchor", "basket", "candle", "drawer", "engine", "fiddle", "garage", "hammer",
    "island", "jacket", "ladder", "magnet", "needle", "oyster", "pencil", "quarry",
)  # fmt: skip
TIMES = ("at dawn", "on Sunday", "in winter", "after lunch", "last spring", "by the lake")
VERSIONS = 8
PLANTED = 5
"""The version, counted from 0, that brings the bad shard."""

SHARD = "shard-5b.jsonl"
WRONG_ROWS = 700


def make_versions(root: Path) -> tuple[Toy, list[str]]:
    """Write the project; return it with the commit of each version."""
    project = make_project(root)
    rng = random.Random(5)
    texts = [
        (f"The {noun} {when} was {word}{END[label]}", label)
        for label, words in SAID.items()
        for word, noun, when in product(words, NOUNS, TIMES)
    ]
    rng.shuffle(texts)
    file = root / "recipes" / "tiny.yaml"
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    recipe["source"]["path"] = str(INPUTS)
    recipe["evaluation"]["max_samples"] = 80
    file.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    commits = [commit(project, "version 0")]
    for number in range(1, VERSIONS):
        shard = [texts.pop() for _ in range(12)]
        write(root / INPUTS / f"shard-{number}.jsonl", shard)
        if number == PLANTED:
            bad = [(text, WRONG[label]) for text, label in (texts.pop() for _ in range(WRONG_ROWS))]
            write(root / INPUTS / SHARD, bad)
            write(root / INPUTS / "shard-5c.jsonl", [texts.pop() for _ in range(12)])
            done(project, sys.executable, "-m", "dvc", "add", "-q", str(INPUTS / SHARD))
        commits.append(commit(project, f"version {number}"))
        if number == 3:
            (root / "notes.txt").write_text("nothing about rows", encoding="utf-8")
            commit(project, "notes alone")
    return project, commits


def write(file: Path, rows: list[tuple[str, str]]) -> None:
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
