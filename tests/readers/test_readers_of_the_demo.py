"""The demo's own files in the four readers: run `make demo` first."""

from pathlib import Path

import pytest
from four_readers import (
    Asked,
    Prompt,
    ask_genai,
    ask_javascript,
    ask_like_optimum,
    ask_ours,
    ask_torch,
)

from components.contracts.kinds import Adapter, BaseModelFolder, Evaluation, Onnx, Tokens

pytestmark = pytest.mark.slow

DEMO = Path(__file__).resolve().parents[2] / "data" / "sentiment"
COUNT, NEW = 3, 16
TEXTS = [
    "The old lighthouse keeper climbed the stairs and",
    "import numpy as np\n\ndef softmax(x):",
]
"""What is gone on from for as long as is asked; a label ends at once."""

IN_PYTHON = (ask_ours, ask_genai, ask_like_optimum)


@pytest.fixture(scope="module")
def onnx() -> Onnx:
    if not (DEMO / "onnx" / "manifest.json").is_file():
        pytest.skip("the demo has not been run here: `make demo`")
    found = Onnx.open(DEMO / "onnx")
    if "fp32/config.json" not in found.files:
        pytest.skip("the demo's files are of an earlier version: `make demo`")
    return found


@pytest.fixture(scope="module")
def prompts(onnx: Onnx) -> list[Prompt]:
    """Held-out rows as turns, then texts."""
    from components.scoring.questions import read_questions

    rows = read_questions(Evaluation.open(DEMO / "evaluation").questions)[:COUNT]
    return [*([dict(turn) for turn in row.turns] for row in rows), *TEXTS]


@pytest.fixture(scope="module")
def expected(prompts: list[Prompt]) -> list[Asked]:
    from components.model.merge import load_merged

    base, adapter = BaseModelFolder.open(DEMO / "base"), Adapter.open(DEMO / "adapter")
    model, _ = load_merged(base.model, adapter.model)
    return ask_torch(model, base.model, prompts, NEW)


@pytest.fixture(scope="module")
def javascript(onnx: Onnx, prompts: list[Prompt]) -> dict[str, list[Asked]]:
    asks = [
        {
            "folder": str(onnx.variant(variant)),
            "options": {"subfolder": ""},
            "prompts": prompts,
            "max_new_tokens": NEW,
        }
        for variant in onnx.variants
    ]
    return dict(zip(onnx.variants, ask_javascript(asks), strict=True))


def test_prompts_have_the_ids_of_training(expected: list[Asked]) -> None:
    from components.scoring.tables import read_items

    asked = Evaluation.open(DEMO / "evaluation").facts["items"]
    items = read_items(Tokens.open(DEMO / "tokens"), asked["split"], COUNT)
    assert [list(item.prompt) for item in items] == [one.prompt for one in expected[:COUNT]]
    assert all(len(one.answer) > 4 for one in expected[COUNT:]), "texts are gone on from"


def test_fp32_is_torch_in_every_reader(
    onnx: Onnx, prompts: list[Prompt], expected: list[Asked]
) -> None:
    for ask in IN_PYTHON:
        assert ask(onnx.variant("fp32"), prompts, NEW) == expected, ask.__name__


def test_fp32_is_torch_in_javascript(
    expected: list[Asked], javascript: dict[str, list[Asked]]
) -> None:
    assert javascript["fp32"] == expected


@pytest.mark.parametrize("variant", ["int8", "int4"])
def test_rounded_files_answer_alike_in_every_reader(
    variant: str, onnx: Onnx, prompts: list[Prompt]
) -> None:
    said = [ask(onnx.variant(variant), prompts, NEW) for ask in IN_PYTHON]
    assert said[0] == said[1] == said[2]


@pytest.mark.parametrize("variant", ["int8", "int4"])
def test_rounded_files_answer_alike_in_javascript(
    variant: str, onnx: Onnx, prompts: list[Prompt], javascript: dict[str, list[Asked]]
) -> None:
    assert javascript[variant] == ask_ours(onnx.variant(variant), prompts, NEW)


def test_int8_takes_less_than_a_third_of_fp32(onnx: Onnx) -> None:
    sizes = {name: onnx.facts["variants"][name]["bytes"] for name in onnx.variants}
    assert sizes["int8"] <= 0.30 * sizes["fp32"]
