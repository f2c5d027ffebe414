"""Shared, tiny and real: a random Llama-class model and rows of token ids made for it."""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_seq2seq import Exported, write_seq2seq
from tiny_export import write_adapter, write_export

from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Dataset, Onnx, Tokens
from components.contracts.tables import IGNORED, dataset_schema, tokens_schema
from components.sources.fetch import fetch
from components.sources.settings import RandomModel

EOS = 2
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Context(root=tmp_path, scratch=scratch, events=Heard())


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFolder:
    """A random Llama-class model of two layers."""
    folder = tmp_path_factory.mktemp("tiny")
    return fetch(RandomModel(kind="random"), out=folder / "base", context=Context(folder, folder))


@pytest.fixture(scope="session")
def tiny_adapter(tiny_base: BaseModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return write_adapter(tiny_base, tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture(scope="session")
def tiny_onnx(
    tiny_base: BaseModelFolder, tiny_adapter: Adapter, tmp_path_factory: pytest.TempPathFactory
) -> Onnx:
    """The tiny model as fp32, int8 and int4 files."""
    return write_export(tiny_base, tiny_adapter, tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="session")
def tiny_seq2seq(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A random T5 of two layers with a random adapter, as fp32, int8 and int4 files."""
    return write_seq2seq(tmp_path_factory.mktemp("seq2seq"))


@pytest.fixture(scope="session")
def tiny_tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """Rows whose answer (one of two tokens) is told by the last token of the prompt."""
    folder = tmp_path_factory.mktemp("tokens")
    with Tokens.write(folder / "tokens") as draft:
        for split, count in (("train", 60), ("validation", 16), ("test", 24)):
            rows = [token_row(split, index) for index in range(count)]
            table = pa.Table.from_pylist(rows, schema=tokens_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
        draft.facts = {"prefix_token": EOS}
    return Tokens.open(folder / "tokens")


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The rows of `tiny_tokens` as text."""
    folder = tmp_path_factory.mktemp("dataset")
    with Dataset.write(folder / "dataset") as draft:
        rows = [text_row(f"test-{index}", str(index)) for index in range(24)]
        table = pa.Table.from_pylist(rows, schema=dataset_schema())
        pq.write_table(table, draft.folder / "test.parquet")
    return Dataset.open(folder / "dataset")


def text_row(name: str, text: str) -> dict[str, object]:
    """Return one row of the dataset table; what is not given is empty."""
    empty = {"source": "made", "row": 0, "target": -1, "rejected": "", "choices": []}
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]
    said = {"messages": json.dumps(messages), "answer": "yes", "references": ["yes"]}
    return {"id": name, "text": text, **said, **empty}


@pytest.fixture(autouse=True, scope="module")
def no_carried_code() -> Iterator[None]:
    """Forget where registered models keep their copies of our code.

    MLflow leaves them in `sys.path`, and a process that is started later would import those.
    """
    yield
    sys.path[:] = [path for path in sys.path if not is_copy(Path(path).resolve())]


def is_copy(folder: Path) -> bool:
    return folder != ROOT and (folder / "components").is_dir()


def token_row(split: str, index: int) -> dict[str, object]:
    """Return one row of the tokens table, the same for the same split and index."""
    rng = random.Random(f"{split}/{index}")
    target = index % 2
    text = [rng.randrange(10, 200) for _ in range(rng.randrange(3, 12))]
    prompt = [1, 40, 41, *text, 60 + target]
    answer = [70 + target, EOS]
    return {
        "id": f"{split}-{index}",
        "input_ids": prompt + answer,
        "labels": [IGNORED] * len(prompt) + answer,
        "length": len(prompt) + 2,
        "prompt_tokens": len(prompt),
        "answer_ids": answer,
        "choice_ids": [[70], [71, 72]],
        "target": 0 if target == 0 else -1,
        "text_ids": text,
        "text_bytes": 2 * len(text),
        "trained_tokens": 2,
        "truncated_tokens": 0,
        "eos_trained": True,
        "bos_doubled": False,
    }
