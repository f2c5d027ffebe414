"""From the recipe's `evaluation` section to requests: rows, examples, prompts, token ids."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError, RecipeError, did_you_mean
from components.contracts.kinds import BaseModelFolder, Dataset, Tokens
from components.evaluation.choice_rows import choice_rows, has_choices
from components.evaluation.probe_settings import CanaryProbe, ProbeSettings, ToxicityProbe
from components.evaluation.prompts import Prompter
from components.evaluation.rows import (
    Row,
    draw,
    file_rows,
    json_lines,
    split_rows,
    texts,
    word_list,
)
from components.evaluation.settings import (
    ChoiceTask,
    CodeTask,
    EvaluationSettings,
    LmEvalTask,
    PerplexitySettings,
    PerplexityTask,
    RowsTask,
    TaskSettings,
    WritingTask,
)
from components.evaluation.tasks import perplexity
from components.evaluation.tasks.named import TASKS
from components.scoring.requests import Plan, Request
from components.scoring.tasks import Asked
from components.scoring.voice import Voice

LM_EVAL_VERSION = 1
LM_EVAL_LENGTH = 2048
"""Tokens that lm-eval takes for a model's context where its configuration does not say."""


@dataclass(frozen=True)
class Sources:
    """What requests are made of."""

    base: BaseModelFolder
    dataset: Dataset
    tokens: Tokens
    voice: Voice
    root: Path
    settings: EvaluationSettings

    @property
    def limit(self) -> int | None:
        """How many tokens the model reads, if its configuration says so."""
        found = self.base.facts.get("max_position_embeddings")
        return None if found is None else int(found)


def prepare(sources: Sources) -> list[Asked]:
    """Return every task of the section with its requests, `perplexity` first, guards last.

    Raises `RecipeError` for a file or token that is not there, `DataError` for rows that a task
    cannot ask about.
    """
    settings = sources.settings
    own = settings.perplexity
    asked = [] if own is None else [_texts(sources, own, "perplexity")]
    asked += [_asked(sources, one) for one in settings.tasks]
    return asked + [replace(_asked(sources, one), guard=True) for one in settings.guards]


def _asked(sources: Sources, task: TaskSettings) -> Asked:
    if isinstance(task, PerplexityTask):
        return _texts(sources, task, task.name)
    if isinstance(task, LmEvalTask):
        return Asked(_harness_plan(sources, task))
    if isinstance(task, CodeTask):
        return _code(sources, task)
    if isinstance(task, ProbeSettings):
        return _probe(sources, task)
    return _rows(sources, task)


def _rows(sources: Sources, task: ChoiceTask | WritingTask) -> Asked:
    name, known = task.name or task.task, TASKS[task.task]
    rows = _limited(_read(sources, task), task.max_samples or sources.settings.max_samples)
    if not rows:
        raise DataError(f"the task '{name}' has no rows", fix="give the split a share of the rows")
    made: dict[str, tuple[Request, ...]] = {}
    facts: dict[str, Any] = {"items": len(rows)}
    for key, count in (("", task.num_fewshot), ("base_", task.base_num_fewshot)):
        if key and not count:
            continue
        shots = _draw(sources, task, count)
        prompter = Prompter(
            sources.voice,
            sources.limit,
            task.apply_chat_template,
            task.fewshot_delimiter,
            task.target_delimiter,
            shots,
        )
        made[key] = worded(known.requests(rows, task, prompter), prompter)
        facts |= {f"{key}shots": [s.id for s in shots], f"{key}shortened": prompter.shortened}
    return Asked(known.plan(task, name), made[""], made.get("base_", ()), facts)


def _read(sources: Sources, task: RowsTask) -> list[Row]:
    if task.dataset_path is not None:
        return _file(sources, task, task.dataset_path)
    return [r for r in split_rows(sources.dataset, sources.settings.split) if r.turns]


def worded(requests: Sequence[Request], prompter: Prompter) -> tuple[Request, ...]:
    """Return requests with their words; each task has asked its prompter once a request."""
    pairs = zip(requests, prompter.asked, strict=True)
    return tuple(replace(request, wording=wording.told()) for request, wording in pairs)


def _file(sources: Sources, task: RowsTask, path: str) -> list[Row]:
    if isinstance(task, ChoiceTask) and task.format.kind == "auto":
        lines = json_lines(sources.root, path)
        if has_choices(lines):
            return choice_rows(lines, path)
    return file_rows(sources.root, path, task.format)


def _draw(sources: Sources, task: RowsTask, count: int) -> list[Row]:
    """Return the examples of a task: never from what is asked."""
    if not count:
        return []
    if task.train_path is not None:
        return draw(_file(sources, task, task.train_path), count, task.fewshot_seed)
    return draw(split_rows(sources.dataset, "train"), count, task.fewshot_seed)


def _code(sources: Sources, task: CodeTask) -> Asked:
    rows = _limited(json_lines(sources.root, task.dataset_path), task.max_samples)
    prompter = Prompter(sources.voice, sources.limit, task.apply_chat_template)
    made = worded(TASKS["code"].requests(rows, task, prompter), prompter)
    plan = TASKS["code"].plan(task, task.name or task.task)
    return Asked(plan, made, (), {"items": len(made), "shortened": prompter.shortened})


def _probe(sources: Sources, task: ProbeSettings) -> Asked:
    rows: list[dict[str, Any]]
    if task.dataset_path is not None:
        rows = json_lines(sources.root, task.dataset_path)
    else:
        rows = [one.model_dump() for one in task.canaries]
    if isinstance(task, ToxicityProbe):
        words = word_list(sources.root, task.words_path)
        rows = [{**row, "words": words} for row in rows]
    chat = task.apply_chat_template
    gap = task.target_delimiter if isinstance(task, CanaryProbe) else " "
    prompter = Prompter(sources.voice, sources.limit, chat, target_delimiter=gap)
    known = TASKS[task.task]
    made = worded(known.requests(_limited(rows, task.max_samples), task, prompter), prompter)
    plan = known.plan(task, task.name or task.task)
    return Asked(plan, made, (), {"items": len(made), "shortened": prompter.shortened})


def _texts(sources: Sources, task: PerplexitySettings, name: str) -> Asked:
    if sources.limit is not None and task.max_length > sources.limit:
        raise RecipeError(
            f"evaluation: max_length of '{name}' is {task.max_length}, but the model reads "
            f"{sources.limit} tokens",
            fix=f"set it to {sources.limit} or less",
        )
    if task.dataset_path is None:
        rows = split_rows(sources.dataset, sources.settings.split)
        documents = [(row.id, row.text) for row in rows]
    else:
        found = texts(sources.root, task.dataset_path, task.text_column)
        documents = [(str(number), text) for number, text in enumerate(found, start=1)]
    documents = _limited(documents, task.max_samples)
    made: list[Request] = perplexity.requests(documents, sources.voice)
    if not made:
        raise DataError(f"the texts of '{name}' have no tokens", fix="give it texts")
    token = prefix_token(sources, task.prefix_token)
    facts = {
        "items": len(made),
        "prefix_token_text": str(sources.voice.tokenizer.convert_ids_to_tokens(token)),
    }
    return Asked(perplexity.plan(task, name, token), tuple(made), (), facts)


def prefix_token(sources: Sources, wanted: str) -> int:
    """Return the id of the token that texts are scored behind."""
    if wanted == "auto":
        return int(sources.tokens.facts["prefix_token"])
    known = sources.voice.tokenizer.get_vocab()
    if wanted not in known:
        special = list(sources.voice.tokenizer.all_special_tokens)
        raise RecipeError(
            f"evaluation: prefix_token '{wanted}' is not in the vocabulary"
            f"{did_you_mean(wanted, special)}",
            fix=f"use auto or a token, for example one of: {', '.join(special)}",
        )
    return int(known[wanted])


def _harness_plan(sources: Sources, task: LmEvalTask) -> Plan:
    options = task.model_dump(exclude={"task"}) | {
        "prefix_token": prefix_token(sources, "auto"),
        "max_length": sources.limit or LM_EVAL_LENGTH,
    }
    name = task.name.replace("/", "--")
    return Plan(name, "lm_eval", LM_EVAL_VERSION, "lm_eval", (), "", options)


def _limited(rows: Sequence[Any], count: int | None) -> list[Any]:
    return list(rows if count is None else rows[:count])
