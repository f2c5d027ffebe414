"""A random model with a real tokenizer, made on the spot, and local tasks for lm-eval to run."""

import json
import random
from pathlib import Path
from typing import Any

import yaml

from components.contracts.artefacts import write_json

TEXT = (
    "the a river bridge stone light house winter garden old young slowly quickly runs falls sings "
    "über naïve façade tea, bread; salt. water? sugar! and or not seven twelve blue green paper"
)
WORDS = TEXT.split()
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SHAPE = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def sentence(rng: random.Random, low: int, high: int) -> str:
    """Return words with white space of several kinds between them."""
    words = [rng.choice(WORDS) for _ in range(rng.randrange(low, high))]
    return "".join(word + rng.choice([" ", " ", " ", "  ", "\n"]) for word in words)


def make_model(folder: Path, **shape: int) -> Path:
    """Write a Llama-class model of random weights and a BPE tokenizer trained on the words."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rng = random.Random(0)
    tokenizer.train_from_iterator([sentence(rng, 5, 30) for _ in range(300)], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"eos_token": SPECIAL[2], "pad_token": SPECIAL[2], "bos_token": SPECIAL[0]}
    write_json(
        folder / "tokenizer_config.json",
        {**names, "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 256},
    )
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        **(SHAPE | shape),
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_rows(file: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSON lines."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    file.write_text("".join(lines), encoding="utf-8")
    return file


def write_task(folder: Path, name: str, rows: list[dict[str, Any]], **settings: Any) -> None:
    """Write a local lm-eval task over `rows`, and the rows beside it."""
    data = write_rows(folder / f"{name}.jsonl", rows)
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(data), "train": str(data)},
            "cache_dir": str(folder / "cache"),
        },
        "test_split": "test",
        "metadata": {"version": 1.0},
        **settings,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")


def run_reference(model: Path, tasks: Path, names: list[str], **settings: Any) -> Any:
    """Return what lm-eval itself makes of local tasks with its hf backend."""
    import torch
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoModelForCausalLM, AutoTokenizer

    hf = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model)
    options = {key: settings.pop(key) for key in ("max_length",) if key in settings}
    lm = HFLM(pretrained=hf, tokenizer=tokenizer, device="cpu", batch_size=8, **options)
    return simple_evaluate(
        model=lm,
        tasks=names,
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
        **settings,
    )
