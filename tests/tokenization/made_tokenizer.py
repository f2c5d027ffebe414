"""Small tokenizers made on the spot: byte-level BPE with several ways of cutting, and spaces."""

from functools import cache
from pathlib import Path
from typing import Any

from components.contracts.artefacts import write_json

SPECIAL = (
    "<|endoftext|>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|end|>",
)
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
KINDS = ("byte-level", "digits", "llama-3", "qwen", "o200k", "spaces", "no cuts")


def made_tokenizer(
    folder: Path, template: str, bos: str, eos: str, stops: list[str], kind: str = "byte-level"
) -> Path:
    """Write a tokenizer with a chat template; `stops` are further ends of an answer."""
    tokenizer = trained(kind)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    names = {"bos_token": bos, "eos_token": eos, "tokenizer_class": "PreTrainedTokenizerFast"}
    write_json(folder / "tokenizer_config.json", names)
    ids = [tokenizer.token_to_id(token) for token in (eos, *stops)]
    write_json(folder / "generation_config.json", {"eos_token_id": ids})
    return folder


@cache
def trained(kind: str) -> Any:
    """Return a BPE of a few hundred merges, trained on this very file's kind of text."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, trainers
    from tokenizers import pre_tokenizers as cut

    tokenizer = Tokenizer(models.BPE(byte_fallback=kind == "spaces"))
    if kind == "spaces":  # as SentencePiece does it
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        tokenizer.decoder = decoders.Sequence(
            [
                decoders.Replace("▁", " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
        )
        alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    else:
        tokenizer.pre_tokenizer = _cutter(kind, cut, Regex)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = []
        if kind == "qwen":
            tokenizer.normalizer = normalizers.NFC()
    special = [AddedToken(t, normalized=False, special=True) for t in SPECIAL]
    trainer = trainers.BpeTrainer(
        vocab_size=len(SPECIAL) + 700,
        special_tokens=[*special, *alphabet],
        initial_alphabet=sorted(cut.ByteLevel.alphabet()) if kind != "spaces" else [],
        show_progress=False,
        max_token_length=16,
    )
    text = Path(__file__).with_name("test_multi_turn.py").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not set("<>") & set(line)]
    tokenizer.train_from_iterator(
        [*lines, "That makes five, héé! 你好", " It makes four."], trainer
    )
    if kind == "spaces":
        return _without_bytes_as_special(tokenizer)
    return tokenizer


def _cutter(kind: str, cut: Any, regex: Any) -> Any:
    if kind == "no cuts":
        return cut.ByteLevel(add_prefix_space=False, use_regex=False)
    if kind == "byte-level":
        return cut.ByteLevel(add_prefix_space=False)
    if kind == "digits":
        return cut.Sequence([cut.Digits(individual_digits=True), cut.ByteLevel(False)])
    o200k = (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    pattern = {"llama-3": LLAMA_3, "qwen": LLAMA_3.replace("{1,3}", ""), "o200k": o200k}[kind]
    return cut.Sequence(
        [cut.Split(regex(pattern), behavior="isolated"), cut.ByteLevel(False, use_regex=False)]
    )


def _without_bytes_as_special(tokenizer: Any) -> Any:
    """Bytes must be in the vocabulary of a byte fallback, but not be special tokens."""
    import json

    from tokenizers import Tokenizer

    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] in SPECIAL]
    return Tokenizer.from_str(json.dumps(state))
