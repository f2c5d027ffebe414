"""A GGUF file becomes a transformers folder, and is parsed once for it."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.contracts.events import Heard
from components.sources.gguf_model import convert

WIDTH, HEADS, INNER, BLOCKS = 32, 2, 64, 2


def tensor(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(0, 0.05, shape).astype(np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A random Llama of two blocks with a byte-level tokenizer, written by the gguf package."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["<|end|>", *letters, "Ġ", "th"]
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(["t h"])
    for name in ("bos", "eos"):
        getattr(writer, f"add_{name}_token_id")(0)
    writer.add_tensor("token_embd.weight", tensor(len(tokens), WIDTH))
    writer.add_tensor("output_norm.weight", tensor(WIDTH))
    for block in range(BLOCKS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{block}.{name}.weight", tensor(WIDTH, WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{block}.{name}.weight", tensor(INNER, WIDTH))
        writer.add_tensor(f"blk.{block}.ffn_down.weight", tensor(WIDTH, INNER))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{block}.{name}.weight", tensor(WIDTH))
    for write in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file"):
        getattr(writer, write)()
    writer.close()
    return path


def test_the_folder_is_the_files_model_and_it_was_parsed_once(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Counted(gguf.GGUFReader):
        def __init__(self, path: str) -> None:
            made.append(path)
            super().__init__(path)

    monkeypatch.setattr(gguf, "GGUFReader", Counted)
    convert(file, tmp_path / "model", Heard())
    assert made == [str(file)]
    assert gguf.GGUFReader is Counted, "as it was before"

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert model.dtype == torch.float32
    weights = model.state_dict()
    blocks = model.model.layers
    assert len(blocks) == BLOCKS
    expected = {
        "model.embed_tokens.weight": tensor(97, WIDTH),
        "model.layers.1.mlp.down_proj.weight": tensor(WIDTH, INNER),
        "model.layers.0.self_attn.v_proj.weight": tensor(WIDTH, WIDTH),
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(weights[name].numpy(), values)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer.convert_ids_to_tokens(tokenizer("the")["input_ids"]) == ["th", "e"]
