"""Datasets and base models made on the spot for tokenisation."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_tokenizer import made_tokenizer

from components.contracts.artefacts import write_json
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Dataset, Tokens
from components.contracts.tables import dataset_schema
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenize import tokenize
from components.tokenization.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture
def run(context: Context, tiny_base: BaseModelFolder) -> Callable[..., Tokens]:
    """Tokenise rows of one split each; keywords are settings."""

    def run(
        train: Sequence[dict[str, Any]],
        test: Sequence[dict[str, Any]] = (),
        base: BaseModelFolder | None = None,
        **settings: Any,
    ) -> Tokens:
        dataset = write_dataset(context.root / "dataset", {"train": train, "test": test})
        chosen = TokenizationSettings(**settings)
        out = context.root / "tokens"
        return tokenize(base or tiny_base, dataset, chosen, out=out, context=context)

    return run


@pytest.fixture
def base_with(tmp_path: Path, tiny_base: BaseModelFolder) -> Callable[..., BaseModelFolder]:
    """The tiny base with another chat template and, by keyword, other tokenizer settings."""

    def base_with(
        template: str | None, generation_eos: int | list[int] = 2, **config: Any
    ) -> BaseModelFolder:
        with BaseModelFolder.write(tmp_path / "changed") as draft:
            folder = draft.folder / "model"
            shutil.copytree(tiny_base.model, folder)
            if template is None:
                (folder / "chat_template.jinja").unlink()
            else:
                (folder / "chat_template.jinja").write_text(template)
            file = folder / "tokenizer_config.json"
            changed = json.loads(file.read_text()) | config
            write_json(file, {key: value for key, value in changed.items() if value is not None})
            write_json(folder / "generation_config.json", {"eos_token_id": generation_eos})
            draft.facts = dict(tiny_base.facts)
        return BaseModelFolder.open(tmp_path / "changed")

    return base_with


def write_dataset(path: Path, splits: dict[str, Sequence[dict[str, Any]]]) -> Dataset:
    number = 0
    schema = dataset_schema()
    if "rejected" not in schema.names:
        schema = schema.append(pa.field("rejected", pa.string()))
    with Dataset.write(path) as draft:
        for split in ("train", "validation", "test"):
            lines = []
            for row in splits.get(split, ()):
                number += 1
                lines.append({"id": f"id{number}", "source": "demo.csv", "row": number, **row})
            table = pa.Table.from_pylist(lines, schema=schema)
            pq.write_table(table, draft.folder / f"{split}.parquet")
    return Dataset.open(path)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Tokenizer]:
    """A small tokenizer with a chat template, the tokens around a text and other ends."""

    def make(
        template: str, bos: str, eos: str, stops: list[str], kind: str = "byte-level"
    ) -> Tokenizer:
        return load_tokenizer(made_tokenizer(tmp_path, template, bos, eos, stops, kind))

    return make


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """`write_dataset`, for tests in files of their own."""
    return write_dataset
