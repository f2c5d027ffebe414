"""Tokens a second of tokenisation with mask and ledger, against `datasets.map`, in one paired run.

Ours is the whole tokenize step: read rows, template, ids, labels, ledger, checks, Parquet, digests.
The peers are what people usually pass to `datasets.map`; they give ids and labels, and no ledger.
Each loads the tokenizer and writes its result to disk. Rows are made of the docstrings of the
standard library and some packages: natural text, most of it used once.

    python benchmarks/tokenization.py [--quick] [--model FOLDER_WITH_TOKENIZER]

The last line is a JSON object of ratios: ours to the peer, above 1 where ours is faster.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from made_text import Conversation, corpora, docstrings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.contracts.artefacts import write_json
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Dataset
from components.contracts.tables import dataset_schema
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenize import tokenize

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SETTINGS = TokenizationSettings(max_length=8192)
CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKED = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>' + '\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
OURS = "tuneline"


def make_model(folder: Path, texts: list[str]) -> None:
    """Train a byte-level BPE of 16k tokens with the cuts of GPT-2."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=16_000,
        special_tokens=[AddedToken(t, normalized=False, special=True) for t in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": SPECIAL[1], "eos_token": SPECIAL[2]}
    write_json(
        folder / "tokenizer_config.json", names | {"tokenizer_class": "PreTrainedTokenizerFast"}
    )


def make_base(place: Path, model: Path) -> BaseModelFolder:
    """Return a base model folder that holds the tokenizer only, with the template of ChatML."""
    with BaseModelFolder.write(place) as draft:
        folder = draft.folder / "model"
        folder.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(model / name, folder)
        (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    return BaseModelFolder.open(place)


def make_dataset(place: Path, conversations: list[Conversation]) -> Dataset:
    rows = [
        {
            "id": str(n),
            "source": "made",
            "row": n,
            "text": turns[-2]["content"],
            "messages": json.dumps(turns),
            "answer": turns[-1]["content"],
            "choices": [],
            "target": -1,
        }
        for n, turns in enumerate(conversations)
    ]
    with Dataset.write(place) as draft:
        for split in ("train", "validation", "test"):
            table = pa.Table.from_pylist(rows if split == "train" else [], schema=dataset_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")
    return Dataset.open(place)


Map = Callable[[Any], dict[str, Any]]


def by_prompt_length(tokenizer: Any) -> Map:
    """The usual function for a prompt and its answer: tokenise both, mask the prompt's length."""

    def function(row: Any) -> dict[str, Any]:
        turns = row["messages"]
        prompt = tokenizer.apply_chat_template(
            turns[:-1], add_generation_prompt=True, return_dict=False
        )
        ids = tokenizer.apply_chat_template(turns, return_dict=False)
        return {"input_ids": ids, "labels": [-100] * len(prompt) + ids[len(prompt) :]}

    return function


def by_mask(tokenizer: Any) -> Map:
    """The usual function for every answer: the template's generation marks."""

    def function(row: Any) -> dict[str, Any]:
        done = tokenizer.apply_chat_template(
            row["messages"],
            chat_template=MARKED,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        ids, mask = done["input_ids"], done["assistant_masks"]
        return {
            "input_ids": ids,
            "labels": [i if m else -100 for i, m in zip(ids, mask, strict=True)],
        }

    return function


def by_prompt_length_batched(tokenizer: Any) -> Map:
    """Many rows a call: render both, encode both in one batch each."""

    def function(rows: Any) -> dict[str, Any]:
        prompts = tokenizer.apply_chat_template(
            [turns[:-1] for turns in rows["messages"]], add_generation_prompt=True, tokenize=False
        )
        wholes = tokenizer.apply_chat_template(rows["messages"], tokenize=False)
        sizes = [len(ids) for ids in tokenizer(prompts, add_special_tokens=False)["input_ids"]]
        all_ids = tokenizer(wholes, add_special_tokens=False)["input_ids"]
        labels = [[-100] * n + ids[n:] for n, ids in zip(sizes, all_ids, strict=True)]
        return {"input_ids": all_ids, "labels": labels}

    return function


def by_mask_batched(tokenizer: Any) -> Map:
    """Many rows a call: the template's generation marks."""

    def function(rows: Any) -> dict[str, Any]:
        done = tokenizer.apply_chat_template(
            rows["messages"],
            chat_template=MARKED,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        labels = [
            [i if m else -100 for i, m in zip(ids, mask, strict=True)]
            for ids, mask in zip(done["input_ids"], done["assistant_masks"], strict=True)
        ]
        return {"input_ids": done["input_ids"], "labels": labels}

    return function


PEERS = {
    "rows, prompt length": (by_prompt_length, False),
    "rows, assistant mask": (by_mask, False),
    "batches, prompt length": (by_prompt_length_batched, True),
    "batches, assistant mask": (by_mask_batched, True),
}
SUITED = {"short": list(PEERS), "long": list(PEERS), "chat": [p for p in PEERS if "mask" in p]}
"""Prompt lengths cannot mask a conversation of several answers."""


def timed(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return wall seconds, CPU seconds (children too) and the result."""
    start, times = time.perf_counter(), os.times()
    result = function()
    after = os.times()
    used = sum(after[:4]) - sum(times[:4])
    return time.perf_counter() - start, used, result


def check(ours: Path, theirs: Any, model: Path) -> None:
    """Raise unless both train the same tokens of the same rows; ours end at the last answer."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    table = pq.read_table(ours, columns=["input_ids", "labels"]).slice(0, 200).to_pylist()
    for line, row in zip(table, theirs.select(range(len(table))), strict=True):
        n = len(line["input_ids"])
        assert row["input_ids"][:n] == line["input_ids"]
        assert tokenizer.decode(row["input_ids"][n:]) == "\n"
        assert row["labels"][:n] == line["labels"]


def mapped(
    rows: Path, model: Path, make: Callable[[Any], Map], *, batched: bool, processes: int
) -> Any:
    """Do what users do: load tokenizer and rows, `Dataset.map`, its result written to disk."""
    import datasets
    from transformers import PreTrainedTokenizerFast

    function = make(PreTrainedTokenizerFast.from_pretrained(model))
    return datasets.load_from_disk(rows).map(
        function,
        batched=batched,
        num_proc=processes if processes > 1 else None,
        remove_columns=["messages"],
        load_from_cache_file=False,
    )


def contenders(
    name: str, turns: Any, base: BaseModelFolder, folder: Path
) -> dict[str, Callable[[], Any]]:
    """Return what is timed, by label; each call gives its result."""
    import datasets

    ours = make_dataset(folder / "dataset", turns)
    datasets.Dataset.from_list([{"messages": one} for one in turns]).save_to_disk(folder / "rows")
    out, context = folder / "tokens", Context(root=folder, scratch=folder)
    found: dict[str, Callable[[], Any]] = {
        OURS: partial(tokenize, base, ours, SETTINGS, out=out, context=context)
    }
    for peer in SUITED[name]:
        make, batched = PEERS[peer]
        for processes in (1, 2):
            found[f"{peer}, num_proc={processes}"] = partial(
                mapped,
                folder / "rows",
                base.model,
                make,
                batched=batched,
                processes=processes,
            )
    return found


def run(name: str, turns: Any, base: BaseModelFolder, folder: Path, rounds: int) -> dict[str, Any]:
    """Time ours and the peers in turn, `rounds` times; return the ratios of tokens a second."""
    wall: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    results: dict[str, Any] = {}
    calls = contenders(name, turns, base, folder)
    for _ in range(rounds):
        for label, call in calls.items():
            seconds, used, results[label] = timed(call)
            wall.setdefault(label, []).append(seconds)
            cpu.setdefault(label, []).append(used)
    made = results.pop(OURS)
    for theirs in results.values():
        check(made.split("train"), theirs, base.model)
    tokens = made.facts["splits"]["train"]["tokens"]
    best, least = ({k: min(v) for k, v in seen.items()} for seen in (wall, cpu))
    print(f"\n{name}: {len(turns):,} rows, {tokens:,} tokens, best of {rounds}")
    print(f"{'':<36}{'tokens/s':>11}{'CPU s':>8}{'times ours, wall':>18}{'CPU':>7}")
    for label in best:
        times, work = best[label] / best[OURS], least[label] / least[OURS]
        rate = tokens / best[label]
        print(f"{label:<36}{rate:>11,.0f}{least[label]:>8.2f}{times:>18.2f}{work:>7.2f}")
    return {
        label: {
            "wall": round(best[label] / best[OURS], 2),
            "cpu": round(least[label] / least[OURS], 2),
        }
        for label in best
        if label != OURS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="at most 5 minutes")
    parser.add_argument("--model", type=Path, help="a folder with a tokenizer (byte-level BPE)")
    options = parser.parse_args()
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        texts = docstrings()
        model = options.model or folder / "model"
        if options.model is None:
            make_model(model, texts[:20_000])
        base = make_base(folder / "base", model)
        ratios = {}
        scale, rounds = (2, 1) if options.quick else (4, 3)
        for name, turns in corpora(texts, scale).items():
            (folder / name).mkdir()
            ratios[name] = run(name, turns, base, folder / name, rounds)
    worst = {}
    for kind in ("rows", "batches"):
        for clock in ("wall", "cpu"):
            found = [
                v[clock] for one in ratios.values() for k, v in one.items() if k.startswith(kind)
            ]
            worst[f"{kind}_{clock}_least"] = min(found)
            worst[f"{kind}_{clock}_median"] = round(statistics.median(found), 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\npeak memory of this process, peers included: {peak:.2f} GB")
    print(json.dumps(worst | ratios))


if __name__ == "__main__":
    main()
