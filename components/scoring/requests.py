"""What a task asks of every model, as token ids, and what a model answered: two tables.

The evaluate step makes the requests and keeps them; whoever answers later reads the same ones.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.events import Events, Silent
from components.scoring.measures import Sums, as_marks
from components.scoring.voice import Voice

Tokens = tuple[int, ...]
Kind = Literal["choice", "generation", "code", "perplexity", "lm_eval", "canary"]


@dataclass(frozen=True)
class Plan:
    """How a task asks and marks; a JSON value, kept among the facts.

    `measures` are names of `measures.MEASURES`, the first one is the one that is told. `marker` is
    a name of `marking.MARKERS`. `options` are those of the kind: for generation `max_new_tokens`,
    `stop`, `extract`; for code also `timeout`, `memory`, `num_samples`, `temperature`; for
    perplexity `prefix_token`, `max_length`, `stride`; for lm_eval what lm-eval is given.
    """

    name: str
    task: str
    version: int
    kind: Kind
    measures: tuple[str, ...]
    marker: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        return {**asdict(self), "measures": list(self.measures)}

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Plan":
        return cls(**{**facts, "measures": tuple(facts["measures"])})


@dataclass(frozen=True)
class Request:
    """One item. `prompt` is what the model is given; for perplexity it is the document.

    `choices` are the continuations to weigh, of `choice_characters` characters and `choice_bytes`
    bytes; `target` is the index of the right one. `references` are the accepted answers. `words`
    and `bytes` are those of a document. `code` holds prompt, test and entry point of a program.
    `wording` says the same as text (`components.scoring.wording`).
    """

    id: str
    prompt: Tokens
    choices: tuple[Tokens, ...] = ()
    choice_characters: tuple[int, ...] = ()
    choice_bytes: tuple[int, ...] = ()
    target: int = -1
    references: tuple[str, ...] = ()
    words: int = 0
    bytes: int = 0
    code: tuple[str, ...] = ()
    wording: str = ""


@dataclass(frozen=True)
class Answer:
    """What one model made of one request. `marks` is what it adds to each measure.

    `text` is the answer as it was written (for several samples, those parted by a form feed);
    `logprobs` in nats are those of the choices.
    """

    id: str
    marks: dict[str, tuple[float, ...]]
    text: str = ""
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Desk:
    """Where a task is put to a model: how its text is read, where relative paths start, who hears
    how far it is.
    """

    voice: Voice
    root: Path
    events: Events = field(default_factory=Silent)
    label: str = "answering"


def request_schema() -> pa.Schema:
    """The table of requests."""
    ids = pa.list_(pa.int32())
    return pa.schema(
        [
            ("id", pa.string()),
            ("prompt", ids),
            ("choices", pa.list_(ids)),
            ("choice_characters", ids),
            ("choice_bytes", ids),
            ("target", pa.int32()),
            ("references", pa.list_(pa.string())),
            ("words", pa.int64()),
            ("bytes", pa.int64()),
            ("code", pa.list_(pa.string())),
            ("wording", pa.string()),
        ]
    )


def write_requests(file: Path, requests: Sequence[Request]) -> None:
    """Write requests as a Parquet table, one row an item."""
    rows = [asdict(request) for request in requests]
    pq.write_table(pa.Table.from_pylist(rows, schema=request_schema()), file)


def read_requests(file: Path) -> list[Request]:
    """Return the requests that `write_requests` wrote."""
    return [
        Request(**{k: _tuples(v) for k, v in r.items()}) for r in pq.read_table(file).to_pylist()
    ]


def write_answers(file: Path, answers: Sequence[Answer], measures: Sequence[str]) -> None:
    """Write answers as a Parquet table: id, text, logprobs and a list of numbers a measure."""
    numbers = pa.list_(pa.float64())
    schema = pa.schema(
        [("id", pa.string()), ("text", pa.string()), ("logprobs", numbers)]
        + [(name, numbers) for name in measures]
    )
    rows = [
        {"id": a.id, "text": a.text, "logprobs": a.logprobs} | {m: a.marks[m] for m in measures}
        for a in answers
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)


def read_answers(file: Path) -> list[Answer]:
    """Return the answers that `write_answers` wrote."""
    return [
        Answer(
            id=row.pop("id"),
            text=row.pop("text"),
            logprobs=tuple(row.pop("logprobs")),
            marks={name: tuple(numbers) for name, numbers in row.items()},
        )
        for row in pq.read_table(file).to_pylist()
    ]


def marks_of(answers: Sequence[Answer], measure: str) -> Sums:
    """Return what answers add to a measure, as an array [items, numbers]."""
    return as_marks([answer.marks[measure] for answer in answers])


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value
