"""A tiny T5-class model with random weights and a byte-level tokenizer, for tests."""

from pathlib import Path

import numpy as np

from components.contracts.artefacts import need_space, write_json
from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.sources.settings import RandomModel

SPECIAL = ("<pad>", "</s>", "<unk>")
PAD, EOS = 0, 1
VOCABULARY = len(SPECIAL) + 256
BUCKETS = 32
IDS = {"pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": PAD}

Weights = dict[str, np.ndarray]


def bring_model(settings: RandomModel, folder: Path, context: Context) -> None:
    """Write config, weights, tokenizer and generation config to `folder`."""
    del context
    from safetensors.numpy import save_file

    if settings.hidden_size % settings.num_attention_heads:
        raise ModelError("model.hidden_size must be a multiple of model.num_attention_heads")
    tensors = _weights(settings)
    need_space(folder, sum(t.nbytes for t in tensors.values()), "the random model")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", _config(settings))
    write_json(folder / "generation_config.json", IDS | {"do_sample": False})
    _write_tokenizer(folder)


def _config(settings: RandomModel) -> dict[str, object]:
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "dtype": "float32",
        "d_model": settings.hidden_size,
        "d_ff": settings.intermediate_size,
        "d_kv": settings.hidden_size // settings.num_attention_heads,
        "num_layers": settings.num_hidden_layers,
        "num_decoder_layers": settings.num_hidden_layers,
        "num_heads": settings.num_attention_heads,
        "relative_attention_num_buckets": BUCKETS,
        "feed_forward_proj": "relu" if settings.tie_word_embeddings else "gated-gelu",
        "tie_word_embeddings": settings.tie_word_embeddings,
        "is_encoder_decoder": True,
        "dropout_rate": 0.0,
        "vocab_size": VOCABULARY,
        **IDS,
    }


def _weights(settings: RandomModel) -> Weights:
    random = np.random.default_rng(settings.seed)
    hidden, inner = settings.hidden_size, settings.intermediate_size
    heads, tied = settings.num_attention_heads, settings.tie_word_embeddings

    def normal(rows: int, columns: int, scale: float) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    def attention(at: str, *, biased: bool) -> Weights:
        # No division by the root of the head's size in this family: the queries are that small.
        scales = {"q": (hidden // heads) ** -0.5, "k": 1.0, "v": 1.0, "o": 1.0}
        found = {
            f"{at}.{name}.weight": normal(hidden, hidden, scale * hidden**-0.5)
            for name, scale in scales.items()
        }
        bias = {f"{at}.relative_attention_bias.weight": normal(BUCKETS, heads, 0.5)}
        return found | (bias if biased else {})

    def dense(at: str) -> Weights:
        ways = ("wi",) if tied else ("wi_0", "wi_1")
        found = {f"{at}.{name}.weight": normal(inner, hidden, hidden**-0.5) for name in ways}
        return found | {f"{at}.wo.weight": normal(hidden, inner, inner**-0.5)}

    tensors = {"shared.weight": normal(VOCABULARY, hidden, 1.0)}
    for stack, parts in (
        ("encoder", ("SelfAttention",)),
        ("decoder", ("SelfAttention", "EncDecAttention")),
    ):
        for block in range(settings.num_hidden_layers):
            at = f"{stack}.block.{block}.layer"
            for place, part in enumerate(parts):
                biased = block == 0 and part == "SelfAttention"
                tensors |= attention(f"{at}.{place}.{part}", biased=biased)
            tensors |= dense(f"{at}.{len(parts)}.DenseReluDense")
            for place in range(len(parts) + 1):
                tensors[f"{at}.{place}.layer_norm.weight"] = np.ones(hidden, np.float32)
        tensors[f"{stack}.final_layer_norm.weight"] = np.ones(hidden, np.float32)
    return (
        tensors if tied else tensors | {"lm_head.weight": normal(VOCABULARY, hidden, hidden**-0.5)}
    )


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", EOS)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("pad_token", "eos_token", "unk_token")
    special = dict(zip(names, SPECIAL, strict=True))
    write_json(
        folder / "tokenizer_config.json",
        special | {"model_max_length": 512, "tokenizer_class": "PreTrainedTokenizerFast"},
    )
