"""Tests that need a CUDA device: they are skipped, with the reason, where there is none."""

from pathlib import Path
from typing import Any

import pytest

from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder
from components.sources.fetch import fetch
from components.sources.settings import RandomModel


@pytest.fixture(autouse=True)
def cuda() -> Any:
    """Return torch's first CUDA device, or skip."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: run `python -m pytest tests/gpu` on a machine with one")
    before = torch.get_float32_matmul_precision()
    yield torch.device("cuda", 0)
    torch.set_float32_matmul_precision(before)
    torch.cuda.empty_cache()


@pytest.fixture(scope="session")
def wide_base(tmp_path_factory: pytest.TempPathFactory) -> BaseModelFolder:
    """A random model whose heads are 64 wide, as the kernels want them, and whose steps are not
    lost in what the libraries hold."""
    folder = tmp_path_factory.mktemp("wide")
    shape = {
        "hidden_size": 512,
        "intermediate_size": 1024,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    }
    settings = RandomModel.model_validate({"kind": "random", **shape})
    return fetch(settings, out=folder / "base", context=Context(folder, Path(folder)))
