"""Conversations made of docstrings: natural text that is on every machine, without a network."""

import ast
import random
import sysconfig
from itertools import cycle
from pathlib import Path

ROLES = ("user", "assistant")
Conversation = list[dict[str, str]]


def docstrings() -> list[str]:
    """Return the paragraphs of many docstrings, each once, in a fixed random order."""
    library, packages = Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib"))
    files = [p for p in library.glob("**/*.py") if not {"site-packages", "test"} & set(p.parts)]
    for name in ("numpy", "pandas", "scipy", "torch", "transformers"):
        files += [p for p in (packages / name).glob("**/*.py") if "tests" not in p.parts]
    texts: dict[str, None] = {}
    for file in sorted(files):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue  # files that are wrong on purpose
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                for part in (ast.get_docstring(node) or "").split("\n\n"):
                    texts |= {part.strip(): None}
    kept = [text for text in texts if len(text) > 20]
    random.Random(0).shuffle(kept)
    return kept


def corpora(texts: list[str], scale: int) -> dict[str, list[Conversation]]:
    """Return conversations: one-line questions with a label, chats of three answers, long ones."""
    rng = random.Random(0)
    walk = cycle(texts)
    task = "What is this about? Answer with one word: code, data or other."
    labels = ("code", "data", "other")

    def joined(count: int) -> str:
        return "\n\n".join(next(walk) for _ in range(count))

    def turns(*contents: str) -> Conversation:
        return [{"role": ROLES[n % 2], "content": text} for n, text in enumerate(contents)]

    def question() -> str:
        return " ".join(next(walk).split())[:160]

    system = {"role": "system", "content": task}
    return {
        "short": [[system, *turns(question(), rng.choice(labels))] for _ in range(20_000 * scale)],
        "chat": [turns(*(joined(2) for _ in range(6))) for _ in range(2_500 * scale)],
        "long": [turns(joined(12), joined(8)) for _ in range(1_200 * scale)],
    }
