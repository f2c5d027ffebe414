"""Encoder-decoders: an encoder, and a decoder with its cache, traced as three graphs.

The names of inputs and outputs are those of optimum's exports, which transformers.js reads too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.export.tracing import FILE, Traced, trace

if TYPE_CHECKING:
    import torch

BATCH, SOURCE, NEW, PAST = 2, 5, 3, 4
"""Lengths of the example that the graphs are traced with; none of them stays in them."""

ENCODER, FIRST, NEXT = "encoder", "first", "next"
"""Folders of the graphs: of the encoder, of the decoder without and with a cache."""

KINDS = ("key", "value")
Axes = dict[str, dict[int, str]]


def write_graphs(model: Path, out: Path) -> str | None:
    """Write the graphs of the encoder-decoder in the folder `model` to folders below `out`, fp32.

    Returns the name of the head's product. Raises `ModelError` if it cannot be traced.
    """
    from transformers import AutoModelForSeq2SeqLM

    both = AutoModelForSeq2SeqLM.from_pretrained(
        model, local_files_only=True, attn_implementation="eager"
    ).eval()
    trace(encoder(both), out / ENCODER / FILE)
    trace(first(both), out / FIRST / FILE)
    trace(following(both), out / NEXT / FILE)
    head = both.get_output_embeddings()
    return next((name for name, module in both.named_modules() if module is head), None)


def encoder(both: Any) -> Traced:
    """Return the encoder as a graph from padded sources to their states."""
    import torch

    class Encoder(torch.nn.Module):
        """The last hidden states."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = both

        def forward(self, inputs: "Sequence[torch.Tensor]") -> "torch.Tensor":
            ids, mask = inputs
            stack = self.inner.get_encoder()
            states: torch.Tensor = stack(
                input_ids=ids, attention_mask=added(mask, self.inner.dtype)
            ).last_hidden_state
            return states

    values = {
        "input_ids": torch.zeros(BATCH, SOURCE, dtype=torch.long),
        "attention_mask": torch.ones(BATCH, SOURCE, dtype=torch.long),
    }
    axes = {name: {0: "batch", 1: "encoder_sequence"} for name in values}
    return Traced(Encoder(), values, axes, ["last_hidden_state"])


def first(both: Any) -> Traced:
    """Return the decoder as a graph from states and first tokens to logits and a cache."""
    import torch
    from transformers import DynamicCache, EncoderDecoderCache

    class First(torch.nn.Module):
        """Logits, then keys and values of every block: its own, and those of the source."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = both

        def forward(self, inputs: "Sequence[torch.Tensor]") -> "tuple[torch.Tensor, ...]":
            mask, ids, states = inputs
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
            logits = written(self.inner, mask, ids, states, cache)
            own, source = cache.self_attention_cache, cache.cross_attention_cache
            pairs = zip(own.layers, source.layers, strict=True)
            return (logits, *(value for pair in pairs for one in pair for value in of(one)))

    values, axes = read_before(both)
    outputs = ["logits", *(f"present.{name}" for name in cached(both))]
    return Traced(First(), values, axes, outputs)


def following(both: Any) -> Traced:
    """Return the decoder as a graph from cache and next tokens to logits and the longer cache."""
    import torch

    class Following(torch.nn.Module):
        """Logits, then its own keys and values of every block: those of the source stay."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = both

        def forward(self, inputs: "Sequence[torch.Tensor]") -> "tuple[torch.Tensor, ...]":
            mask, ids, *past = inputs
            cache = cache_of(past)
            # The states themselves are not read again, only their number.
            states = mask[:, :, None].to(self.inner.dtype).expand(-1, -1, both.config.d_model)
            logits = written(self.inner, mask, ids, states, cache)
            layers = cache.self_attention_cache.layers
            return (logits, *(value for one in layers for value in of(one)))

    values, axes = read_before(both)
    del values["encoder_hidden_states"], axes["encoder_hidden_states"]
    heads, size = both.config.num_heads, both.config.d_kv
    for name in cached(both):
        own = ".decoder." in name
        length, axis = (PAST, "past") if own else (SOURCE, "encoder_sequence")
        values[f"past_key_values.{name}"] = torch.zeros(BATCH, heads, length, size)
        axes[f"past_key_values.{name}"] = {0: "batch", 2: axis}
    outputs = ["logits", *(f"present.{name}" for name in cached(both) if ".decoder." in name)]
    return Traced(Following(), values, axes, outputs)


def read_before(both: Any) -> "tuple[dict[str, torch.Tensor], Axes]":
    """Return what both decoders are given: the source's mask, tokens, and the source's states."""
    import torch

    values = {
        "encoder_attention_mask": torch.ones(BATCH, SOURCE, dtype=torch.long),
        "input_ids": torch.zeros(BATCH, NEW, dtype=torch.long),
        "encoder_hidden_states": torch.zeros(BATCH, SOURCE, both.config.d_model),
    }
    axes = {name: {0: "batch", 1: "encoder_sequence"} for name in values}
    axes["input_ids"] = {0: "batch", 1: "decoder_sequence"}
    return values, axes


def cached(both: Any) -> list[str]:
    """Return the names of keys and values, in the order of the graph's outputs."""
    return [
        f"{block}.{of_what}.{kind}"
        for block in range(int(both.config.num_decoder_layers))
        for of_what in ("decoder", "encoder")
        for kind in KINDS
    ]


def written(
    both: Any, mask: "torch.Tensor", ids: "torch.Tensor", states: "torch.Tensor", cache: Any
) -> "torch.Tensor":
    """Return the logits of `ids` [rows, new] behind `cache`, which goes on."""
    before = cache.get_seq_length()
    logits: torch.Tensor = both(
        attention_mask=added(mask, both.dtype),
        encoder_outputs=(states,),
        decoder_input_ids=ids,
        decoder_attention_mask=causal(ids.shape[1], before, both.dtype),
        past_key_values=cache,
        use_cache=True,
    ).logits
    return logits


def added(mask: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
    """Return what is added to attention scores [rows, 1, 1, source]: 0, or very little."""
    import torch

    least = torch.finfo(dtype).min
    return torch.where(mask[:, None, None, :] > 0, 0.0, least).to(dtype)


def causal(new: int, before: int, dtype: "torch.dtype") -> "torch.Tensor":
    """Return what is added to the decoder's own scores [1, 1, new, before + new]."""
    import torch

    places = torch.arange(new)[:, None] + before
    seen = torch.arange(before + new)[None] <= places
    return torch.where(seen, 0.0, torch.finfo(dtype).min).to(dtype)[None, None]


def cache_of(past: "Sequence[torch.Tensor]") -> Any:
    """Return a cache of keys and values in the order of `cached`."""
    from transformers import DynamicCache, EncoderDecoderCache

    own = [(past[at], past[at + 1]) for at in range(0, len(past), 4)]
    source = [(past[at + 2], past[at + 3]) for at in range(0, len(past), 4)]
    return EncoderDecoderCache(DynamicCache(own), DynamicCache(source))


def of(layer: Any) -> "tuple[torch.Tensor, torch.Tensor]":
    return layer.keys, layer.values
