"""Pairs of answers for the tiny model as a tokens artefact."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_pairs import EOS, pair_row

from components.contracts.kinds import Tokens
from components.contracts.tables import tokens_schema
from components.training.pairs import Pairs, read_pairs


@pytest.fixture(scope="session")
def pair_tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    folder = tmp_path_factory.mktemp("pairs") / "tokens"
    with Tokens.write(folder) as draft:
        for split, count in (("train", 48), ("validation", 12), ("test", 24)):
            rows = [pair_row(split, index) for index in range(count)]
            table = pa.Table.from_pylist(rows, schema=tokens_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
        draft.facts = {"prefix_token": EOS}
    return Tokens.open(folder)


@pytest.fixture
def pairs(pair_tokens: Tokens) -> Pairs:
    found = read_pairs(pair_tokens.split("train"), 7)
    found.reference = np.random.default_rng(0).normal(-9, 1, (7, 2)).astype(np.float32)
    return found
