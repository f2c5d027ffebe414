"""A project of the first two stages alone, run for real on the rows of the tiny recipe."""

import json
import random
import shutil
import sys
from pathlib import Path

from toy_project import REPOSITORY, Toy

GRAPH = """stages:
  ingest:
    matrix: {recipe: "${recipes}"}
    cmd: python -m flows.stage ingest ${item.recipe}
    deps: ["data/inputs/${item.recipe}"]
    params: ["recipes/${item.recipe}.yaml": [source]]
    outs: ["data/${item.recipe}/raw"]
  validate:
    matrix: {recipe: "${recipes}"}
    cmd: python -m flows.stage validate ${item.recipe}
    deps: ["data/${item.recipe}/raw", "data/accepted/${item.recipe}", "data/inputs/${item.recipe}"]
    params: ["recipes/${item.recipe}.yaml": [format, validation]]
    outs: ["data/${item.recipe}/dataset"]
"""
INPUTS = Path("data/inputs/tiny")


def make_project(root: Path) -> Toy:
    """Write the project to `root`, with its git and DVC, and commit it."""
    for name in ("recipes", INPUTS, "data/accepted/tiny"):
        (root / name).mkdir(parents=True)
    (root / "dvc.yaml").write_text(GRAPH, encoding="utf-8")
    (root / "params.yaml").write_text("recipes:\n  - tiny\n", encoding="utf-8")
    (root / "data/accepted/tiny/.gitkeep").touch()
    for name in (".gitignore", "recipes/tiny.yaml", INPUTS / "rows.jsonl"):
        shutil.copy(REPOSITORY / name, root / name)
    project = Toy(root)
    for words in (
        ("git", "init", "-q"),
        ("git", "config", "user.email", "toy@example.org"),
        ("git", "config", "user.name", "Toy"),
        (sys.executable, "-m", "dvc", "init", "-q"),
        (sys.executable, "-m", "dvc", "config", "core.autostage", "true"),
    ):
        done(project, *words)
    commit(project, "the rows")
    return project


def done(project: Toy, *words: str) -> str:
    """Run a command in the project; fail with what it said if it fails."""
    ended = project.run(*words)
    assert ended.returncode == 0, f"{words}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def commit(project: Toy, subject: str) -> str:
    """Commit all there is; return the commit."""
    done(project, "git", "add", "-A")
    done(project, "git", "commit", "-qm", subject)
    return done(project, "git", "rev-parse", "HEAD").strip()


def write_rows(file: Path, count: int, seed: int = 1) -> Path:
    """Write made-up reviews that the tiny recipe's own rows do not hold."""
    rng = random.Random(seed)
    words = {"good": ("splendid", "lovely"), "fair": ("plain", "usual"), "poor": ("awful", "bad")}
    with file.open("w", encoding="utf-8") as stream:
        for number in range(count):
            label = list(words)[number % 3]
            said = " ".join(rng.sample(("boat", "tent", "kite", "drum", "rake", "vase"), 4))
            text = f"{rng.choice(words[label])} thing, number {seed}{number:03}: {said}"
            stream.write(json.dumps({"text": text, "label": label}) + "\n")
    return file
