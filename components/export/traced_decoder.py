"""Decoders that onnxruntime-genai's builder does not know: traced, in the layout of its files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.artefacts import write_json
from components.contracts.errors import ModelError
from components.export.kept_logits import let_readers_keep_fewer
from components.export.tracing import FILE, Traced, trace

if TYPE_CHECKING:
    import torch

    Pair = tuple[torch.Tensor, torch.Tensor]

BATCH, NEW, PAST = 2, 3, 4
"""Lengths of the example that the graph is traced with; none of them stays in it."""

INPUTS = ("input_ids", "attention_mask", "position_ids")
KINDS = ("key", "value")


def write_graph(model: Path, out: Path) -> str | None:
    """Write the decoder in the folder `model` to `out` in fp32, with the builder's names.

    The cache is `past_key_values.N.key` [batch, heads, past, size] and so on, and behaves as the
    builder's: rows begin at its place 0, may be padded on the right, and the mask tells how many
    tokens each has. Returns the name of the head's product.

    Raises:
        ModelError: the model looks back through a window, or cannot be traced.
    """
    from transformers import AutoModelForCausalLM

    causal = AutoModelForCausalLM.from_pretrained(model, local_files_only=True).eval()
    config = causal.config.get_text_config()
    if getattr(config, "sliding_window", None):
        raise ModelError(
            f"{type(causal).__name__} looks back through a window, which is not traced here",
            fix="use a base model whose attention sees all tokens before it",
        )
    trace(decoder(causal), out / FILE)
    let_readers_keep_fewer(out / FILE)
    write_json(out / "genai_config.json", genai_config(causal))
    head = causal.get_output_embeddings()
    return next((name for name, module in causal.named_modules() if module is head), None)


def decoder(causal: Any) -> Traced:
    """Return a causal model as a graph from tokens and cache to logits and cache."""
    import torch

    class Decoder(torch.nn.Module):
        """All logits, then the cache that continues the one given."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = causal

        def forward(self, inputs: "Sequence[torch.Tensor]") -> "tuple[torch.Tensor, ...]":
            ids, mask, positions, *past = inputs
            places = new_places(ids, mask)
            total = torch.sym_max(past[0].shape[2], mask.shape[1])
            pairs = list(zip(past[::2], past[1::2], strict=True))
            said = self.inner(
                input_ids=ids,
                attention_mask=seen(places, total, self.inner.dtype),
                position_ids=positions,
                past_key_values=row_cache(pairs, places, total),
                use_cache=True,
            )
            layers = said.past_key_values.layers
            return (said.logits, *(value for one in layers for value in (one.keys, one.values)))

    values, axes = example(causal)
    layers = range(int(causal.config.get_text_config().num_hidden_layers))
    outputs = ["logits", *(f"present.{layer}.{kind}" for layer in layers for kind in KINDS)]
    return Traced(Decoder(), values, axes, outputs)


def new_places(ids: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    """Return the places [rows, new] in the cache of the new tokens: behind those a row has.

    The mask tells how many tokens a row has in the end; what pads it on the right is overwritten
    by what comes next.
    """
    import torch

    before = (mask.sum(dim=1, keepdim=True) - ids.shape[1]).clamp_min(0)
    return before + torch.arange(ids.shape[1])[None]


def seen(places: "torch.Tensor", total: int, dtype: "torch.dtype") -> "torch.Tensor":
    """Return what is added to attention scores [rows, 1, new, total]: 0, or very little."""
    import torch

    allowed = torch.arange(total)[None, None] <= places[:, :, None]
    return torch.where(allowed, 0.0, torch.finfo(dtype).min).to(dtype)[:, None]


def row_cache(pairs: "list[Pair]", places: "torch.Tensor", total: int) -> Any:
    """Return a cache that writes new keys and values [rows, heads, new, size] to `places`.

    It has `total` places then, as the builder's has: those of the past, or more where these do not
    suffice. So a runtime may keep room in it and let every row have its own length.
    """
    import torch
    from transformers import DynamicCache

    rows = torch.arange(places.shape[0])[:, None]

    def write(past: "torch.Tensor", new: "torch.Tensor") -> "torch.Tensor":
        batch, heads, length, size = past.shape
        whole = torch.cat([past, past.new_zeros(batch, heads, total - length, size)], dim=2)
        # By place, then row: so the new ones go in with one scatter.
        turned = whole.transpose(1, 2).index_put((rows, places), new.transpose(1, 2))
        return turned.transpose(1, 2)

    class RowCache(DynamicCache):
        """Rows begin at place 0; each goes on at its own end."""

        def update(
            self, keys: "torch.Tensor", values: "torch.Tensor", layer: int, *_: Any, **__: Any
        ) -> "Pair":
            found = self.layers[layer]
            found.keys, found.values = write(found.keys, keys), write(found.values, values)
            return found.keys, found.values

    return RowCache(pairs)


def example(causal: Any) -> tuple[dict[str, "torch.Tensor"], dict[str, dict[int, str]]]:
    """Return the inputs of an example by name, and the axes of each that have any length."""
    import torch

    heads, size = cache_shape(causal)
    values = {
        "input_ids": torch.zeros(BATCH, NEW, dtype=torch.long),
        "attention_mask": torch.ones(BATCH, PAST + NEW, dtype=torch.long),
        "position_ids": torch.arange(PAST, PAST + NEW).repeat(BATCH, 1),
    }
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in INPUTS}
    axes["attention_mask"] = {0: "batch_size", 1: "total_sequence_length"}
    for layer in range(int(causal.config.get_text_config().num_hidden_layers)):
        for kind in KINDS:
            name = f"past_key_values.{layer}.{kind}"
            values[name] = torch.zeros(BATCH, heads, PAST, size)
            axes[name] = {0: "batch_size", 2: "past_sequence_length"}
    return values, axes


def cache_shape(causal: Any) -> tuple[int, int]:
    """Return heads and size of a key in the cache."""
    config = causal.config.get_text_config()
    heads = int(config.num_attention_heads)
    size = getattr(config, "head_dim", None) or int(config.hidden_size) // heads
    return int(getattr(config, "num_key_value_heads", None) or heads), int(size)


GENAI_TYPE = "decoder"
"""What onnxruntime-genai calls any decoder with such inputs; of a family by its own name, such as
gpt2, it expects the inputs of older exporters."""


def genai_config(causal: Any) -> dict[str, Any]:
    """Return what the builder writes beside a graph, as far as a reader of the file asks for it."""
    config = causal.config.get_text_config()
    heads, size = cache_shape(causal)
    ends = causal.generation_config.eos_token_id
    past = {f"past_{kind}_names": f"past_key_values.%d.{kind}" for kind in KINDS}
    present = {f"present_{kind}_names": f"present.%d.{kind}" for kind in KINDS}
    return {
        "model": {
            "type": GENAI_TYPE,
            "bos_token_id": config.bos_token_id,
            "eos_token_id": config.eos_token_id if ends is None else ends,
            "pad_token_id": config.pad_token_id,
            "context_length": int(config.max_position_embeddings),
            "vocab_size": int(config.vocab_size),
            "decoder": {
                "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
                "filename": FILE,
                "head_size": size,
                "hidden_size": int(config.hidden_size),
                "num_attention_heads": int(config.num_attention_heads),
                "num_hidden_layers": int(config.num_hidden_layers),
                "num_key_value_heads": heads,
                "inputs": {name: name for name in INPUTS} | past,
                "outputs": {"logits": "logits"} | present,
            },
        },
        "search": {
            "max_length": int(config.max_position_embeddings),
            "past_present_share_buffer": False,
        },
    }
