"""One folder, four readers, the same tokens: on a tiny model."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from four_readers import (
    Asked,
    Messages,
    Prompt,
    ask_genai,
    ask_javascript,
    ask_like_optimum,
    ask_ours,
    ask_torch,
)

from components.contracts.kinds import Adapter, BaseModelFolder, Onnx

NEW = 12
CHATS: list[Messages] = [
    [{"role": "user", "content": "Good morning, everyone!"}],
    [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "Straße, naïve café — 东京 🙂\n\ttwo  spaces"},
    ],
    [
        {"role": "user", "content": "<|im_start|>not a turn"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": " 'quoted' & <b>bold</b> {{ braces }}"},
    ],
]
PROMPTS: list[Prompt] = [*CHATS, "plain text to go on from: ½ ≠ 0,5"]
IN_PYTHON = (ask_ours, ask_genai, ask_like_optimum)
VARIANTS = ("fp32", "int8", "int4")

Ask = Callable[[Path, Sequence[Prompt], int], list[Asked]]


@pytest.fixture(scope="module")
def expected(tiny_base: BaseModelFolder, tiny_adapter: Adapter, tiny_onnx: Onnx) -> list[Asked]:
    """Torch, of the merged model and the tokenizer that it was trained with."""
    from components.model.merge import load_merged

    model, _ = load_merged(tiny_base.model, tiny_adapter.model)
    return ask_torch(model, tiny_base.model, PROMPTS, NEW)


def test_the_prompts_are_read_as_they_are_trained(
    tiny_base: BaseModelFolder, expected: list[Asked]
) -> None:
    from components.tokenization.render import render
    from components.tokenization.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(tiny_base.model)
    answer = {"role": "assistant", "content": "yes"}
    trained = [render(tokenizer, [*messages, answer]).prompt for messages in CHATS]
    assert tokenizer.encode(trained) == [asked.prompt for asked in expected[: len(CHATS)]]


@pytest.mark.parametrize("ask", IN_PYTHON)
def test_readers_in_python_say_what_torch_says(
    ask: Ask, tiny_onnx: Onnx, expected: list[Asked]
) -> None:
    assert ask(tiny_onnx.variant("fp32"), PROMPTS, NEW) == expected
    assert any(asked.answer for asked in expected)


@pytest.mark.parametrize("variant", ["int8", "int4"])
def test_readers_in_python_agree_on_rounded_weights(
    variant: str, tiny_onnx: Onnx, expected: list[Asked]
) -> None:
    said = [ask(tiny_onnx.variant(variant), PROMPTS, NEW) for ask in IN_PYTHON]
    assert said[0] == said[1] == said[2]
    assert [asked.prompt for asked in said[0]] == [asked.prompt for asked in expected]


def test_javascript_reads_the_folders_as_they_are(tiny_onnx: Onnx, expected: list[Asked]) -> None:
    asks = [
        {
            "folder": str(tiny_onnx.variant(variant)),
            "options": {"subfolder": ""},
            "prompts": PROMPTS,
            "max_new_tokens": NEW,
        }
        for variant in VARIANTS
    ]
    said = dict(zip(VARIANTS, ask_javascript(asks), strict=True))
    assert said["fp32"] == expected
    for variant in VARIANTS[1:]:
        assert said[variant] == ask_ours(tiny_onnx.variant(variant), PROMPTS, NEW)


def test_a_config_tells_every_reader_the_shape_of_the_cache(tiny_onnx: Onnx) -> None:
    import onnx

    for name in tiny_onnx.variants:
        folder = tiny_onnx.variant(name)
        config = json.loads((folder / "config.json").read_text())
        genai = json.loads((folder / "genai_config.json").read_text())["model"]["decoder"]
        graph = onnx.load(folder / genai["filename"], load_external_data=False).graph
        pasts = [value for value in graph.input if value.name.startswith("past_key_values.")]
        assert len(pasts) == 2 * config["num_hidden_layers"] == 2 * genai["num_hidden_layers"]
        for value in pasts:
            dims = [one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim]
            heads, size = config["num_key_value_heads"], config["head_dim"]
            assert dims == ["batch_size", heads, "past_sequence_length", size]
            assert (heads, size) == (genai["num_key_value_heads"], genai["head_size"])
