"""A merged Llama-class model as GGUF files, for llama.cpp to be measured with the same weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np

ROUNDED = {"Q8_0": 7, "Q4_0": 2, "Q4_K_M": 15}
"""llama.cpp's file types, by its own numbers (`llama_ftype`)."""

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(model: Path, folder: Path) -> Path:
    """Write the model folder as f32.gguf, and rounded by llama.cpp; return their folder.

    Without a vocabulary: only token ids go in and out.
    """
    import gguf
    import llama_cpp as cpp
    from safetensors.numpy import load_file

    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] != "llama":
        raise SystemExit(f"only Llama-class models are written as GGUF, not {config['model_type']}")
    out = folder / "gguf"
    out.mkdir()
    writer = gguf.GGUFWriter(str(out / "f32.gguf"), "llama")
    describe(writer, config)
    for file in sorted(model.glob("*.safetensors")):
        for name, values in load_file(file).items():
            if name != "lm_head.weight" or not config.get("tie_word_embeddings"):
                writer.add_tensor(named(name), turned(name, values, config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for name, number in ROUNDED.items():
        how = cpp.llama_model_quantize_default_params()
        how.ftype, how.nthread = number, 2
        source, target = (str(out / f"{one}.gguf").encode() for one in ("f32", name))
        if cpp.llama_model_quantize(source, target, how):
            raise SystemExit(f"llama.cpp could not write {name}")
    return out


def describe(writer: Any, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or {}
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float(rope.get("rope_theta", config.get("rope_theta", 10000.0))))
    writer.add_rope_dimension_count(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")


def named(name: str) -> str:
    """Return llama.cpp's name of a tensor."""
    whole = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in whole:
        return whole[name]
    _, _, layer, part = name.split(".", 3)
    return f"blk.{layer}.{NAMES[part.removesuffix('.weight')]}.weight"


def turned(name: str, values: "np.ndarray[Any, Any]", config: dict[str, Any]) -> Any:
    """Return the values; of queries and keys with the rotary pairs side by side, as GGUF has them.

    transformers keeps the two halves of a head apart.
    """
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    part = name.split(".")[-2]
    if part not in heads:
        return values.astype(np.float32)
    rows, width = values.shape
    count = config[heads[part]]
    pairs = values.reshape(count, 2, rows // count // 2, width).swapaxes(1, 2)
    return np.ascontiguousarray(pairs.reshape(rows, width), np.float32)
