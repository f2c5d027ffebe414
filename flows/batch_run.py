"""One batch prediction: an input file, a model, and the output that is made of both."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from components.contracts.artefacts import sha256
from components.contracts.errors import DataError, TunelineError, did_you_mean
from components.contracts.events import Events
from components.runtime.predict import Answer, Fault, Predictor
from components.runtime.template import Message
from components.sources.origin import Row, RowFile
from components.sources.readers import format_of, read_rows
from components.sources.settings import ReadSettings
from flows.batch_output import kind_of, need_free, write_errors, write_rows
from flows.batch_parts import Parts
from flows.batch_spread import Elsewhere

GUESSES = ("messages", "text", "prompt", "question", "instruction")
"""Columns that are taken to hold the question, in this order, where none is named."""

READ = ReadSettings()


@dataclass(frozen=True)
class Job:
    """What to predict. `model` names the model's bytes; `column` holds the text or the messages."""

    source: Path
    out: Path
    predictor: Predictor
    model: str
    column: str | None = None
    prefix: str = ""
    chunk_rows: int = 512
    overwrite: bool = False
    restart: bool = False

    @property
    def file(self) -> RowFile:
        return RowFile(self.source.name, self.source)

    @property
    def errors(self) -> Path:
        return self.out.with_name(f"{self.out.name}.errors.jsonl")

    @property
    def parts(self) -> Parts:
        return Parts(self.out.with_name(f"{self.out.name}.partial"))


@dataclass(frozen=True)
class Done:
    """How it went: `reused` rows were finished by an earlier, interrupted run."""

    rows: int
    faults: int
    reused: int


def predict_file(job: Job, events: Events, elsewhere: Elsewhere | None = None) -> Done:
    """Answer every row of the input and write the output, in the input's order.

    With `elsewhere` chunks are answered by other processes; the output is the same.

    The input is read through once before the first answer, so that a damaged file is told at once.
    Raises `DataError` for a file or a column that does not fit; faults of single rows go to
    `job.errors`, and their new columns stay empty.
    """
    need_place(job)
    total, columns = survey(job.file)
    column = job.column or guess_column(columns)
    if column not in columns:
        raise DataError(
            f"{job.file.name} has no column '{column}'{did_you_mean(column, columns)}",
            fix=f"name one with --column: {', '.join(columns)}",
        )
    need_free(columns, job.predictor.columns, job.prefix)
    parts, reused, done = job.parts, 0, 0
    with parts.alone():
        parts.begin(identity(job, column), restart=job.restart)
        if elsewhere is not None:
            missing = ((n, rows) for n, rows in enumerate(chunks(job)) if parts.read(n) is None)
            for number, made in elsewhere.answers(job.predictor, column, missing):
                parts.write(number, made)
                done += len(made)
                events.progress("predicting", done, total)
            reused, done = total - done, 0
        for number, rows in enumerate(chunks(job)):
            known = parts.read(number)
            if known is None:
                parts.write(number, answer(job, number, rows, column, events, done, total))
            elif elsewhere is None:
                reused += len(rows)
            done += len(rows)
            events.progress("predicting", done, total)
        faults = assemble(job)
        parts.remove()
    return Done(total, faults, reused)


def need_place(job: Job) -> None:
    """Raise `DataError` where the output could not be written in the end."""
    kind_of(job.out)
    format_of(job.file.name, READ)
    if not job.source.is_file():
        raise DataError(f"{job.source} is no file", fix="name a file of rows")
    if job.out.exists() and not job.overwrite:
        raise DataError(f"{job.out} is there already", fix="take another name, or --overwrite")
    if not job.out.parent.is_dir():
        raise DataError(f"{job.out.parent} is no folder", fix="make it first")


def survey(file: RowFile) -> tuple[int, list[str]]:
    """Return the number of rows and all columns; raise `DataError` for a damaged or empty file."""
    total, columns = 0, dict[str, None]()
    for _, fields in read_rows(file, READ):
        total += 1
        columns |= dict.fromkeys(fields)
    if not total:
        raise DataError(f"{file.name} has no rows", fix="name a file with rows")
    return total, list(columns)


def guess_column(columns: Sequence[str]) -> str:
    """Return the column that holds the question; raise `DataError` where it is not clear."""
    if len(columns) == 1:
        return columns[0]
    found = next((name for name in GUESSES if name in columns), None)
    if found is None:
        raise DataError(
            "it is not clear which column holds the text",
            fix=f"name it with --column: {', '.join(columns)}",
        )
    return found


def identity(job: Job, column: str) -> dict[str, Any]:
    """Return what decides the answers: chunks of a run with another identity are not taken up.

    The batch size is not in it: answers do not depend on it.
    """
    how = job.predictor
    generation = asdict(how.generation)
    return {
        "input": sha256(job.source),
        "model": job.model,
        "column": column,
        "chunk_rows": job.chunk_rows,
        "labels": how.labels,
        **({} if how.labels else {**generation, "stop": list(how.stop)}),
        "system": how.system,
    }


def chunks(job: Job) -> Iterator[list[Row]]:
    """Yield the input's rows, `chunk_rows` at a time."""
    rows = read_rows(job.file, READ)
    while chunk := list(islice(rows, job.chunk_rows)):
        yield chunk


def answer(
    job: Job,
    number: int,
    rows: Sequence[Row],
    column: str,
    events: Events,
    done: int,
    total: int,
) -> list[dict[str, Any]]:
    """Return what a chunk's file holds: for each row its line and its answer or its fault."""
    return answer_rows(job.predictor, number, rows, column, events, done, total)


def answer_rows(
    how: Predictor,
    number: int,
    rows: Sequence[Row],
    column: str,
    events: Events,
    done: int,
    total: int,
) -> list[dict[str, Any]]:
    """Return what the file of chunk `number` holds (see `answer`)."""
    found: list[Answer | Fault | None] = [None] * len(rows)
    asked: list[str | list[Message]] = []
    places = []
    for place, (_, fields) in enumerate(rows):
        try:
            asked.append(question(fields, column))
            places.append(place)
        except TunelineError as error:
            found[place] = Fault(error.problem, error.fix)
    # Rows have random streams by their place in the chunk: each chunk needs streams of its own.
    seed = how.generation.seed + number * 1_000_003
    predictor = replace(how, generation=replace(how.generation, seed=seed))
    for count, (index, one) in enumerate(predictor.predict(asked), start=1):
        found[places[index]] = one
        events.progress("predicting", done + count, total)
    return [_kept(line, one) for (line, _), one in zip(rows, found, strict=True)]


def question(fields: dict[str, Any], column: str) -> str | list[Message]:
    """Return a row's text or turns; raise `DataError` where the column holds neither."""
    value = fields.get(column)
    if isinstance(value, str) and column == "messages" and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(f"column '{column}' holds broken JSON: {error}") from error
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(map(_is_turn, value)):
        return value
    shown = "nothing" if value is None or value == "" else repr(value)[:60]
    raise DataError(
        f"column '{column}' holds {shown}, but a text or a list of turns is needed",
        fix='write text, or [{"role": "user", "content": "…"}]',
    )


def assemble(job: Job) -> int:
    """Write the output and the errors; return how many rows have no answer."""
    faults: list[dict[str, Any]] = []

    def merged() -> Iterator[list[dict[str, Any]]]:
        faults.clear()
        for number, rows in enumerate(chunks(job)):
            kept = job.parts.read(number)
            if kept is None or len(kept) != len(rows):
                raise DataError(
                    f"chunk {number} in {job.parts.folder} has changed",
                    fix="run again: it is made anew",
                )
            faults.extend({"row": one["row"], **one["fault"]} for one in kept if "fault" in one)
            yield [
                {**fields, **_columns(job, one)}
                for (_, fields), one in zip(rows, kept, strict=True)
            ]

    write_rows(job.out, merged, input_schema(job))
    write_errors(job.errors, faults)
    return len(faults)


def input_schema(job: Job) -> Any:
    """Return the Arrow schema of a Parquet input, or None."""
    if format_of(job.file.name, READ) != "parquet":
        return None
    import pyarrow.parquet as pq

    return pq.read_schema(job.source)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and {"role", "content"} <= turn.keys()


def _kept(line: int, found: Answer | Fault | None) -> dict[str, Any]:
    if found is None:
        found = Fault("the model gave no answer", "run again with --restart")
    if isinstance(found, Fault):
        return {"row": line, "fault": {"error": found.problem, "fix": found.fix}}
    return {"row": line, "answer": found}


def _columns(job: Job, kept: dict[str, Any]) -> dict[str, Any]:
    """Return the new columns of a row; where it has no answer they are empty."""
    how = job.predictor
    empty: dict[str, Any] = dict.fromkeys(how.columns)
    if how.labels:
        empty["probabilities"] = dict.fromkeys(how.shape.labels)
    return {f"{job.prefix}{name}": value for name, value in kept.get("answer", empty).items()}
