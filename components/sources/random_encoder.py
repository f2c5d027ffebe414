"""A tiny BERT-class encoder with random weights and a byte-level tokenizer, for tests.

For labels there is no head yet; a masked-language model has its own.
"""

from pathlib import Path

import numpy as np

from components.contracts.artefacts import need_space, write_json
from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.task_types import MASKED_LM
from components.sources.settings import RandomModel

SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")
VOCABULARY = len(SPECIAL) + 256
SCALE = 0.25
"""Of the embeddings: at BERT's own 0.02 a few steps would teach nothing."""

Weights = dict[str, np.ndarray]


def bring_model(settings: RandomModel, folder: Path, context: Context) -> None:
    """Write config, weights and tokenizer to `folder`."""
    del context
    from safetensors.numpy import save_file

    if settings.hidden_size % settings.num_attention_heads:
        raise ModelError("model.hidden_size must be a multiple of model.num_attention_heads")
    tensors = _weights(settings)
    if settings.task_type == MASKED_LM:
        tensors = {f"bert.{name}": tensor for name, tensor in tensors.items()} | _head(settings)
    need_space(folder, sum(t.nbytes for t in tensors.values()), "the random model")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", _config(settings))
    _write_tokenizer(folder, settings.max_position_embeddings)


def _config(settings: RandomModel) -> dict[str, object]:
    return {
        "architectures": ["BertForMaskedLM" if settings.task_type == MASKED_LM else "BertModel"],
        "model_type": "bert",
        "dtype": "float32",
        "hidden_act": "gelu",
        "hidden_size": settings.hidden_size,
        "intermediate_size": settings.intermediate_size,
        "num_hidden_layers": settings.num_hidden_layers,
        "num_attention_heads": settings.num_attention_heads,
        "max_position_embeddings": settings.max_position_embeddings,
        "type_vocab_size": 2,
        "vocab_size": VOCABULARY,
        "pad_token_id": SPECIAL.index("[PAD]"),
    }


def _weights(settings: RandomModel) -> Weights:
    random = np.random.default_rng(settings.seed)
    hidden, inner = settings.hidden_size, settings.intermediate_size

    def normal(rows: int, columns: int, scale: float) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    def linear(name: str, rows: int, columns: int) -> Weights:
        weight = normal(rows, columns, columns**-0.5)
        return {f"{name}.weight": weight, f"{name}.bias": np.zeros(rows, np.float32)}

    def norm(name: str) -> Weights:
        ones, zeros = np.ones(hidden, np.float32), np.zeros(hidden, np.float32)
        return {f"{name}.weight": ones, f"{name}.bias": zeros}

    tables = {
        "word_embeddings": VOCABULARY,
        "position_embeddings": settings.max_position_embeddings,
        "token_type_embeddings": 2,
    }
    tensors = {
        f"embeddings.{name}.weight": normal(rows, hidden, SCALE) for name, rows in tables.items()
    }
    tensors |= norm("embeddings.LayerNorm")
    for layer in range(settings.num_hidden_layers):
        at = f"encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            tensors |= linear(f"{at}.attention.self.{name}", hidden, hidden)
        tensors |= linear(f"{at}.attention.output.dense", hidden, hidden)
        tensors |= norm(f"{at}.attention.output.LayerNorm")
        tensors |= linear(f"{at}.intermediate.dense", inner, hidden)
        tensors |= linear(f"{at}.output.dense", hidden, inner)
        tensors |= norm(f"{at}.output.LayerNorm")
    return tensors | linear("pooler.dense", hidden, hidden)


def _head(settings: RandomModel) -> Weights:
    """Return the head of a masked-language model; its last product is the embedding."""
    hidden, at = settings.hidden_size, "cls.predictions"
    random = np.random.default_rng([settings.seed, 1])
    dense = random.standard_normal((hidden, hidden)) * hidden**-0.5
    return {
        f"{at}.transform.dense.weight": dense.astype(np.float32),
        f"{at}.transform.dense.bias": np.zeros(hidden, np.float32),
        f"{at}.transform.LayerNorm.weight": np.ones(hidden, np.float32),
        f"{at}.transform.LayerNorm.bias": np.zeros(hidden, np.float32),
        f"{at}.bias": np.zeros(VOCABULARY, np.float32),
    }


def _write_tokenizer(folder: Path, length: int) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("pad_token", "cls_token", "sep_token", "mask_token", "unk_token")
    special = dict(zip(names, SPECIAL, strict=True))
    plain = {"model_max_length": length, "tokenizer_class": "PreTrainedTokenizerFast"}
    write_json(folder / "tokenizer_config.json", special | plain)
