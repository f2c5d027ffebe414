"""Pairs of answers that the line has given already: label words, and the answers to tasks."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow.parquet as pq

from components.contracts.errors import DataError, RecipeError, choose
from components.judging.line import Line
from components.judging.pairs import Offer, Pair, Turn
from components.scoring.requests import Answer, Plan, Request, read_answers, read_requests
from components.scoring.tables import read_scores
from components.scoring.tasks import REQUESTS
from components.scoring.voice import Voice, load_voice

Models = tuple[str, str]
FORM_FEED = "\f"


def rows_of(line: Line) -> dict[str, dict[str, Any]]:
    """Return the rows of the held-out split by their id."""
    columns = ["id", "messages", "choices", "rejected"]
    table = pq.read_table(line.dataset.split(line.split), columns=columns)
    return {row["id"]: row for row in table.to_pylist()}


def turns(row: Mapping[str, Any]) -> tuple[Turn, ...]:
    """Return the conversation of a row up to its answer."""
    messages = json.loads(row["messages"] or "[]")
    return tuple({"role": str(m["role"]), "content": _content(m)} for m in messages[:-1])


def label_pairs(line: Line, models: Models) -> Offer:
    """Return the label words that two models gave the held-out rows."""
    rows = rows_of(line)
    given = {m: read_scores(line.scored_by(m).path / f"{m}.parquet") for m in models}
    check_same_items({m: [score.id for score in scores] for m, scores in given.items()})
    pairs = []
    for scores in zip(*given.values(), strict=True):
        row = rows[scores[0].id]
        said = {m: row["choices"][s.choice] for m, s in zip(models, scores, strict=True)}
        pairs.append(Pair(row["id"], turns(row), said))
    return Offer.of(pairs)


def task_pairs(line: Line, models: Models, task: str) -> Offer:
    """Return what two models answered to a task of the recipe.

    Raises `RecipeError` for a task that is not there, or whose answers are nothing to read.
    """
    known = judged_tasks(line)
    plan = choose("task", task, known, RecipeError) if known else None
    if plan is None:
        raise RecipeError(
            "the recipe has no task whose answers a person could read",
            fix="leave --task out, or name a task under evaluation.tasks in the recipe",
        )
    voice = load_voice(line.base.model)
    requests = read_requests(line.evaluation.tasks / task / REQUESTS)
    given = {
        m: read_answers(line.scored_by(m).path / "tasks" / task / f"{m}.parquet") for m in models
    }
    check_same_items({m: [one.id for one in answers] for m, answers in given.items()})
    pairs = []
    for request, *answers in zip(requests, *given.values(), strict=True):
        said = {m: READ[plan.kind](voice, request, a) for m, a in zip(models, answers, strict=True)}
        prompt = ({"role": "prompt", "content": voice.decode(request.prompt).strip()},)
        pairs.append(Pair(request.id, prompt, said))
    return Offer.of(pairs)


def check_same_items(ids: Mapping[str, list[str]]) -> None:
    """Raise `DataError` unless all models answered the same items in the same order."""
    if any(found != next(iter(ids.values())) for found in ids.values()):
        raise DataError(
            f"{' and '.join(ids)} did not answer the same items",
            fix="bring the line up to date: `tuneline run RECIPE`",
        )


def judged_tasks(line: Line) -> dict[str, Plan]:
    """Return the tasks whose answers are text or a choice, by name."""
    facts = line.evaluation.facts
    plans = {name: Plan.of(facts["tasks"][name]["plan"]) for name in facts.get("task_names", ())}
    return {name: plan for name, plan in plans.items() if plan.kind in READ}


def _text(voice: Voice, request: Request, answer: Answer) -> str:
    del voice, request
    return answer.text.partition(FORM_FEED)[0]  # of several samples the first


def _choice(voice: Voice, request: Request, answer: Answer) -> str:
    best = max(range(len(answer.logprobs)), key=lambda at: answer.logprobs[at])
    return voice.decode(request.choices[best]).strip()


READ: dict[str, Callable[[Voice, Request, Answer], str]] = {
    "generation": _text,
    "code": _text,
    "choice": _choice,
}
"""How an answer to each kind of task is read."""


def _content(message: Mapping[str, Any]) -> str:
    """Return what a turn says; what is no text (calls of tools) as JSON."""
    rest = {key: message[key] for key in ("tool_calls",) if message.get(key)}
    said = message.get("content") or ""
    told = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    calls = json.dumps(rest, ensure_ascii=False) if rest else ""
    return "\n".join(part for part in (told, calls) if part)
