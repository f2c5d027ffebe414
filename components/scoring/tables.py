"""Items out of the tokens artefact; scores to and from their table."""

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.kinds import Tokens
from components.scoring.items import Item, Score
from components.scoring.preference import CHOSEN

COLUMNS = [
    "id",
    "input_ids",
    "prompt_tokens",
    "answer_ids",
    "rejected_ids",
    "choice_ids",
    "target",
    "text_ids",
    "text_bytes",
]

TYPES = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    float: pa.float64(),
    tuple[float, ...]: pa.list_(pa.float64()),
}


def read_items(
    tokens: Tokens, split: str, limit: int | None, *, texts: int | None = None
) -> list[Item]:
    """Return the items of a split, the first `limit` of them (`None`: all).

    Only the first `texts` of them keep their text (`None`: all): perplexity over text costs as
    much as the answers do.
    """
    table = pq.read_table(tokens.split(split), columns=COLUMNS)
    if limit is not None:
        table = table.slice(0, limit)
    items = [
        Item(
            id=row["id"],
            prompt=tuple(row["input_ids"][: row["prompt_tokens"]]),
            answer=tuple(row["answer_ids"]),
            choices=choices_of(row),
            target=CHOSEN if row["rejected_ids"] else row["target"],
            text=tuple(row["text_ids"]),
            text_bytes=row["text_bytes"],
        )
        for row in table.to_pylist()
    ]
    kept = len(items) if texts is None else texts
    return items[:kept] + [replace(item, text=(), text_bytes=0) for item in items[kept:]]


def choices_of(row: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
    """Return the label words of a row; of a preference row both answers, each with its end."""
    if row["rejected_ids"]:
        return (tuple(row["answer_ids"]), tuple(row["rejected_ids"]))
    return tuple(tuple(choice) for choice in row["choice_ids"])


def write_scores(file: Path, scores: list[Score]) -> None:
    """Write scores as a Parquet table, one row an item."""
    schema = pa.schema([(f.name, TYPES[f.type]) for f in fields(Score)])  # type: ignore[index]
    pq.write_table(pa.Table.from_pylist([asdict(s) for s in scores], schema=schema), file)


def read_scores(file: Path) -> list[Score]:
    """Return the scores that `write_scores` wrote."""
    rows = pq.read_table(file).to_pylist()
    return [Score(**{**row, "choice_logprobs": tuple(row["choice_logprobs"])}) for row in rows]
