"""The held-out rows as text, kept beside their scores: what a stranger to the tokens is asked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.scoring.items import Item
from components.scoring.voice import Voice
from components.scoring.wording import Wording, encode_choices

COLUMNS = ("id", "messages", "answer", "choices", "rejected", "text")


@dataclass(frozen=True)
class Question:
    """One held-out row: the turns before its answer, the answer, label words or a worse answer."""

    id: str
    turns: tuple[Mapping[str, Any], ...]
    answer: str
    choices: tuple[str, ...]
    rejected: str
    text: str


def write_questions(file: Path, dataset_split: Path, items: Sequence[Item]) -> None:
    """Write the rows of a data set's split that stand behind `items`, in their order."""
    table = pq.read_table(dataset_split, columns=list(COLUMNS))
    place = {name: at for at, name in enumerate(table["id"].to_pylist())}
    known = [place[item.id] for item in items if item.id in place]
    pq.write_table(table.take(pa.array(known, pa.int64())), file)


def read_questions(file: Path) -> list[Question]:
    """Return what `write_questions` wrote."""
    return [
        Question(
            id=row["id"],
            turns=tuple(json.loads(row["messages"] or "[]")[:-1]),
            answer=row["answer"],
            choices=tuple(row["choices"] or ()),
            rejected=row["rejected"] or "",
            text=row["text"],
        )
        for row in pq.read_table(file).to_pylist()
    ]


def retell_items(
    questions: Sequence[Question], items: Sequence[Item], voice: Voice
) -> list[Item] | None:
    """Return the items as `voice` reads them, or None where a row's words are not known.

    An answer ends with the voice's end-of-sequence token; texts are read where the items have one.
    """
    if [one.id for one in questions] != [item.id for item in items]:
        return None
    return [_retold(one, item, voice) for one, item in zip(questions, items, strict=True)]


def _retold(question: Question, item: Item, voice: Voice) -> Item:
    text = tuple(voice.encode(question.text)) if item.text else ()
    if not question.turns:
        return replace(item, text=text)
    end = (int(voice.tokenizer.eos_token_id),)
    words = [question.answer, *question.choices]
    words += [question.rejected] if question.rejected else []
    prompt, (answer, *others) = encode_choices(
        voice, Wording(question.turns).prompt(voice), words, gap="", special=False
    )
    # A pair's choices are whole answers, label words are not.
    choices = (answer + end, others[-1] + end) if question.rejected else tuple(others)
    return replace(item, prompt=prompt, answer=answer + end, choices=choices, text=text)
