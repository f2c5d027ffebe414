"""Held-out rows with the answers of base, tuned and the shipped file, differences marked."""

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from components.report.line import Line, Page
from components.scoring.items import Score
from components.scoring.metrics import text_metrics

WRITTEN = ("generation", "code")
LONGEST = 700
"""Characters of a text that are shown."""

PIECES = re.compile(r"\s+|\w+|[^\w\s]")


def before_and_after(page: Page) -> dict[str, Any] | None:
    """Return the samples, each with the models' answers."""
    found = pick_samples(page.line, page.settings.samples)
    return {"ship": page.line.ship, "rows": found} if found else None


def pick_samples(line: Line, count: int) -> list[dict[str, Any]]:
    """Return held-out rows with the answers before and after: first those that changed.

    Where a task has models write answers to these rows, what they wrote is shown.
    """
    rows = {row["id"]: row for row in line.held_out}
    models = ("base", "tuned", line.ship)
    written = _written(line, models, set(rows))
    scores = {model: line.scores(model) for model in models}
    samples = [
        sample(rows[own[0].id], dict(zip(models, own, strict=True)), written, line.ship)
        for own in zip(*scores.values(), strict=True)
        if own[0].id in rows and (not written or own[0].id in written)
    ]
    samples.sort(key=lambda one: (one["before"] == one["after"], one["id"]))
    return samples[:count]


def _written(
    line: Line, models: Sequence[str], ids: set[str]
) -> dict[str, dict[str, tuple[str, bool]]]:
    """Return what models wrote to held-out rows, and whether it is right, by row and model."""
    found: dict[str, dict[str, tuple[str, bool]]] = {}
    for name, task in line.evaluation.facts.get("tasks", {}).items():
        if task["plan"]["kind"] not in WRITTEN:
            continue
        first = task["plan"]["measures"][0]
        for model in models:
            for one in line.answers(model).get(name, []):
                if one.id in ids:
                    told = (one.text, one.marks[first][0] == one.marks[first][-1])
                    found.setdefault(one.id, {})[model] = told
        if found:
            break
    return {row: told for row, told in found.items() if len(told) == len(models)}


def sample(
    row: Mapping[str, Any],
    scores: Mapping[str, Score],
    written: Mapping[str, Mapping[str, tuple[str, bool]]],
    ship: str,
) -> dict[str, Any]:
    """Return one row with what each model answered; `parts` mark what base had otherwise."""
    before = scores["base"]
    told = written.get(row["id"]) or {
        model: (answer(row, score), right(score, before)) for model, score in scores.items()
    }
    first = told["base"][0]
    answers = [
        {
            "model": model,
            "text": text,
            "right": good,
            "parts": [("same", text)] if model == "base" else marked(first, text),
            "sure": probability(scores[model]) if row["id"] not in written else None,
        }
        for model, (text, good) in told.items()
    ]
    return {
        "id": row["id"],
        "text": shortened(row["text"]),
        "reference": shortened(row["answer"]),
        "before": first,
        "tuned": told["tuned"][0],
        "after": told[ship][0],
        "before_right": told["base"][1],
        "after_right": told[ship][1],
        "changed": first != told[ship][0],
        "answers": answers,
    }


def answer(row: Mapping[str, Any], score: Score) -> str:
    """Return the chosen label word, or which answer of a pair is the likelier.

    Of other free answers, whether it was exact; of plain text its bits per byte.
    """
    if not score.answer_tokens:
        bits = text_metrics([score])["bits_per_byte"]
        return "not read" if bits is None else f"{bits:.3f} bits per byte"
    if row["choices"]:
        return str(row["choices"][score.choice])
    if score.choice_logprobs:
        return "chosen" if score.right else "rejected"
    return "exact" if score.greedy else "different"


def right(score: Score, base: Score) -> bool:
    """Say whether an answer is right; of plain text, whether it is likelier than under base."""
    return score.right if score.answer_tokens else score.text_nll < base.text_nll


def probability(score: Score) -> float | None:
    """Return the share of the chosen one in the probability of all choices."""
    if not score.choice_logprobs:
        return None
    logs = np.array(score.choice_logprobs)
    shares = np.exp(logs - logs.max())
    return float(shares[score.choice] / shares.sum())


def marked(before: str, after: str) -> list[tuple[str, str]]:
    """Return `after` in pieces, ("same" | "new" | "gone", text): words that `before` has not or
    has alone.
    """
    old, new = PIECES.findall(before), PIECES.findall(after)
    parts: list[tuple[str, str]] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(("same", "".join(new[c:d])))
            continue
        parts += [("gone", "".join(old[a:b]))] if b > a else []
        parts += [("new", "".join(new[c:d]))] if d > c else []
    return parts


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
