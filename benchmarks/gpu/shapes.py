"""Random models in the shapes of released ones, what work they are, and how fast the card is."""

import argparse
import time
from typing import Any

RANK = 16
WIDE = {"vocab_size": 128256, "num_attention_heads": 32, "num_key_value_heads": 8}
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True,
    },
    "1b": WIDE | {
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "8b": WIDE | {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "head_dim": 128,
        "tie_word_embeddings": False,
    },
}  # fmt: skip
"""Shapes of Llama 3.2 1B and Llama 3.1 8B, with random weights."""


def matmul_rate(cuda: bool) -> float:
    """Return the FLOP/s of the best of some large square bf16 products (on CPU small fp32 ones)."""
    import torch

    size, dtype = (8192, torch.bfloat16) if cuda else (512, torch.float32)
    a, b = (torch.randn(size, size, device="cuda" if cuda else "cpu").to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(30 if cuda else 3):
        wait()
        started = time.perf_counter()
        torch.matmul(a, b)
        wait()
        best = min(best, time.perf_counter() - started)
    return 2.0 * size**3 / best


def wait() -> None:
    """Wait until the device has done all it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def build(options: argparse.Namespace, dtype: Any, device: Any) -> Any:
    """Return the random model of a size, on `device`, its linear layers in NF4 for QLoRA.

    It is made where it is to be: an 8B model would take minutes to go over a disk.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "llama", **SIZES[options.size], max_position_embeddings=8192, bos_token_id=1, eos_token_id=2
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.config.use_cache = False
    if options.adapter == "qlora":
        quantise(model, dtype, device)
    count(options, model)
    return model


def quantise(model: Any, dtype: Any, device: Any) -> None:
    """Put NF4 layers in the place of all linear ones but the head, one after the other."""
    import bitsandbytes as bnb
    import torch

    from components.model.quantized import keep_layers_trainable

    head = model.get_output_embeddings()
    for name, layer in list(model.named_modules()):
        if type(layer) is not torch.nn.Linear or layer is head:
            continue
        small = bnb.nn.Linear4bit(
            layer.in_features, layer.out_features, bias=False, compute_dtype=dtype,
            quant_type="nf4", compress_statistics=True, device="meta",
        )  # fmt: skip
        weight = bnb.nn.Params4bit(
            layer.weight.detach().cpu(), requires_grad=False, quant_type="nf4",
            compress_statistics=True,
        )  # fmt: skip
        small.weight = weight.to(device)
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, small)
        layer.weight = None
    model.is_loaded_in_4bit = True
    keep_layers_trainable(model)


def count(options: argparse.Namespace, model: Any) -> None:
    """Note the FLOPs a token: 4 a frozen weight, 6 one of the adapter, 4 one of the head.

    Forward and the gradient of the input for the frozen weights, and the weights' own for the
    adapter. Attention and what checkpointing computes again are not counted, in any way.
    """
    shape = SIZES[options.size]
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    keys = hidden // shape["num_attention_heads"] * shape["num_key_value_heads"]
    linear = [(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, hidden)]
    linear += [(hidden, inner), (hidden, inner), (inner, hidden)]
    frozen = sum(a * b for a, b in linear) * shape["num_hidden_layers"]
    adapter = sum(RANK * (a + b) for a, b in linear) * shape["num_hidden_layers"]
    options.flops_a_token = 4 * frozen + 6 * adapter + 4 * hidden * shape["vocab_size"]
