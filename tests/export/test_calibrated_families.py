"""Calibrated weights for families whose layers differ: masks, biases, scales, traced graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from made_families import write_base
from tiny_export import write_adapter

from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.export.calibrated import products_of
from components.export.export import export
from components.export.settings import ExportSettings
from components.export.tracing import FILE
from components.runtime.ort import OrtLM

pytestmark = pytest.mark.slow

SETTINGS = ExportSettings.model_validate(
    {
        "variants": ["fp32", "int4"],
        "int4": {"algo_config": "gptq", "accuracy_level": 1, "calibration": {"nsamples": 60}},
    }
)


@pytest.mark.parametrize(
    "family", ["llama", "mistral", "qwen2", "qwen3", "gemma3", "granite", "opt", "gpt_neox"]
)
def test_the_file_says_nearly_what_full_precision_says(
    family: str, tiny_base: BaseModelFolder, tiny_tokens: Tokens, tmp_path: Path
) -> None:
    base = write_base(family, tmp_path / "base", tiny_base)
    adapter = write_adapter(base, tmp_path / "adapter")
    context = Context(tmp_path, tmp_path / "scratch")
    out = tmp_path / "onnx"
    made = export(base, adapter, SETTINGS, out=out, context=context, tokens=tiny_tokens)
    graph = onnx.load(made.variant("int4") / FILE, load_external_data=False).graph
    products = products_of(graph, made.variant("int4"))
    assert {one.how("bits") for one in products} == {4}
    rows = pq.read_table(tiny_tokens.split("validation"))["input_ids"].to_pylist()
    exact, rounded = (logits(made.variant(name), rows) for name in SETTINGS.variants)
    off = np.square(rounded - exact).mean() / exact.var()
    assert 0 < off < 0.1


def logits(folder: Path, rows: list[list[int]]) -> np.ndarray[Any, Any]:
    lm = OrtLM(folder, threads=1)
    return np.concatenate([lm.forward(np.array([row]))[0][0] for row in rows])
