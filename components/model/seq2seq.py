"""An encoder-decoder: one stack reads the source, another writes the target to it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.model.head import decoder_answers
from components.model.merge import load_merged

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def load_seq2seq(
    folder: Path,
    *,
    dtype: "torch.dtype | None" = None,
    device: "torch.device | None" = None,
) -> "PreTrainedModel":
    """Load the encoder-decoder in `folder` (left out: in fp32, on the CPU).

    Raises `ModelError` if transformers cannot load it, or its config does not say what the decoder
    begins with.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM

    wanted = dtype or torch.float32
    try:
        model = AutoModelForSeq2SeqLM.from_pretrained(folder, local_files_only=True, dtype=wanted)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no encoder-decoder: {error}") from error
    start_token(model)
    model.config.use_cache = False
    return model if device is None else model.to(device)


def load_shapes_only(folder: Path, *, dtype: "torch.dtype", **_: Any) -> "PreTrainedModel":
    """Return the encoder-decoder in `folder` on the meta device; only its config is read."""
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.device("meta"):
            model = AutoModelForSeq2SeqLM.from_config(config, dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no encoder-decoder: {error}") from error
    model.config.use_cache = False
    return model


def load_merged_seq2seq(base: Path, adapter: Path) -> "tuple[PreTrainedModel, Any]":
    """Return (the tuned encoder-decoder in fp32 on the CPU, its tokenizer); see `load_merged`.

    The tokenizer is that of tokenizer.json, as in training: transformers' own class for T5 builds
    another one around the same vocabulary.
    """
    from transformers import PreTrainedTokenizerFast

    model, _ = load_merged(base, adapter, load_seq2seq)
    return model, PreTrainedTokenizerFast.from_pretrained(str(base), local_files_only=True)


def start_token(model: Any) -> int:
    """Return the token that the decoder begins with; raise `ModelError` if no config says it."""
    found = model.config.decoder_start_token_id
    if found is None:
        found = model.generation_config.decoder_start_token_id
    if found is None:
        raise ModelError(
            "the base model does not say what its decoder begins with",
            fix="set decoder_start_token_id in its config.json (T5's is its pad_token_id, 0)",
        )
    return int(found)


def padding_id(model: Any) -> int:
    """Return the id to pad sources with; masked, so that any would do."""
    found = model.config.pad_token_id
    return 0 if found is None else int(found)


def head_of(model: Any) -> "Callable[[torch.Tensor], torch.Tensor]":
    """Return what turns the decoder's last hidden states [n, width] into logits [n, vocabulary].

    It is the model's own forward with its decoder set aside: the first T5 divides what its head
    reads by the root of its width, T5 v1.1 does not.
    """
    import torch

    def logits(hidden: "torch.Tensor") -> "torch.Tensor":
        ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        read = (hidden[None, :1].detach(),)
        with decoder_answers(model, hidden[None]):
            found: torch.Tensor = model(
                encoder_outputs=read, decoder_input_ids=ids, use_cache=False
            ).logits
        return found[0]

    return logits
