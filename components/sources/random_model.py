"""A tiny model with random weights and a byte-level tokenizer, for tests.

Written with NumPy alone, so that it costs no torch import and its bytes depend on the seed only.
"""

from pathlib import Path

import numpy as np

from components.contracts.artefacts import need_space, write_json
from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.sources import random_encoder, random_seq2seq
from components.sources.settings import RandomModel

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BOS, EOS = 1, 2
VOCABULARY = len(SPECIAL) + 256
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
OTHERS = {"bert": random_encoder.bring_model, "t5": random_seq2seq.bring_model}
EMBEDDING_SCALE = 0.25
"""Large enough that tied embeddings can give confident logits; 0.02 would cap them near 1."""


def bring_model(settings: RandomModel, folder: Path, context: Context) -> None:
    """Write config, weights, tokenizer and generation config to `folder`."""
    if settings.architecture != "llama":
        OTHERS[settings.architecture](settings, folder, context)
        return
    from safetensors.numpy import save_file

    if settings.hidden_size % settings.num_attention_heads:
        raise ModelError("model.hidden_size must be a multiple of model.num_attention_heads")
    if settings.num_attention_heads % settings.num_key_value_heads:
        raise ModelError("model.num_attention_heads must be a multiple of num_key_value_heads")
    tensors = _weights(settings)
    need_space(folder, sum(t.nbytes for t in tensors.values()), "the random model")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", _config(settings))
    write_json(folder / "generation_config.json", _ids() | {"do_sample": False})
    _write_tokenizer(folder, settings.max_position_embeddings)


def _ids() -> dict[str, int]:
    # As in many released chat models, padding is the end-of-sequence token.
    return {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": EOS}


def _config(settings: RandomModel) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_act": "silu",
        "hidden_size": settings.hidden_size,
        "intermediate_size": settings.intermediate_size,
        "num_hidden_layers": settings.num_hidden_layers,
        "num_attention_heads": settings.num_attention_heads,
        "num_key_value_heads": settings.num_key_value_heads,
        "head_dim": settings.hidden_size // settings.num_attention_heads,
        "max_position_embeddings": settings.max_position_embeddings,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "tie_word_embeddings": settings.tie_word_embeddings,
        "vocab_size": VOCABULARY,
        **_ids(),
    }


def _weights(settings: RandomModel) -> dict[str, np.ndarray]:
    random = np.random.default_rng(settings.seed)
    hidden, inner = settings.hidden_size, settings.intermediate_size
    kv = hidden // settings.num_attention_heads * settings.num_key_value_heads

    def normal(rows: int, columns: int, scale: float) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    def linear(rows: int, columns: int) -> np.ndarray:
        return normal(rows, columns, columns**-0.5)

    tensors = {"model.embed_tokens.weight": normal(VOCABULARY, hidden, EMBEDDING_SCALE)}
    for layer in range(settings.num_hidden_layers):
        at = f"model.layers.{layer}"
        tensors |= {
            f"{at}.input_layernorm.weight": np.ones(hidden, np.float32),
            f"{at}.self_attn.q_proj.weight": linear(hidden, hidden),
            f"{at}.self_attn.k_proj.weight": linear(kv, hidden),
            f"{at}.self_attn.v_proj.weight": linear(kv, hidden),
            f"{at}.self_attn.o_proj.weight": linear(hidden, hidden),
            f"{at}.post_attention_layernorm.weight": np.ones(hidden, np.float32),
            f"{at}.mlp.gate_proj.weight": linear(inner, hidden),
            f"{at}.mlp.up_proj.weight": linear(inner, hidden),
            f"{at}.mlp.down_proj.weight": linear(hidden, inner),
        }
    tensors["model.norm.weight"] = np.ones(hidden, np.float32)
    if not settings.tie_word_embeddings:
        tensors["lm_head.weight"] = normal(VOCABULARY, hidden, EMBEDDING_SCALE)
    return tensors


def _write_tokenizer(folder: Path, length: int) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {
            "bos_token": SPECIAL[BOS],
            "eos_token": SPECIAL[EOS],
            "pad_token": SPECIAL[EOS],
            "model_max_length": length,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
