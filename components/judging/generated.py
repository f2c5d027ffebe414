"""Free answers to held-out rows, generated for people to read: once, and kept."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.contracts.events import Context
from components.judging.answers import Models, rows_of, turns
from components.judging.line import Line
from components.judging.pairs import Offer, Pair, differ, place
from components.runtime.batch import Stop, generate_batch
from components.runtime.generate import Generation
from components.scoring.items import Item
from components.scoring.lm import CausalLM
from components.scoring.tables import read_items
from components.scoring.voice import load_voice

LEAST = 8
"""Items of a further round, at least: each loads the models again."""


@dataclass(frozen=True)
class Asking:
    """How many differing answers are wanted, of which two models, and how they are generated."""

    models: Models
    samples: int
    seed: int
    max_new_tokens: int


def generated_pairs(line: Line, asking: Asking, context: Context) -> Offer:
    """Let both models answer held-out rows, greedily, until enough of them differ.

    Rows are asked in the order in which they are judged. One model at a time is in memory, so they
    answer in rounds; answers are kept in `context.scratch`, also when this is interrupted.
    """
    facts, rows = line.evaluation.facts["items"], rows_of(line)
    items = read_items(line.tokens, line.split, facts["limit"], texts=0)
    items = sorted((i for i in items if i.prompt), key=lambda i: place(i.id, asking.seed))
    pairs: list[Pair] = []
    while len(pairs) < len(items):
        found = sum(map(differ, pairs))
        if found >= asking.samples:
            break
        more = _round(asking.samples - found, found, len(pairs))
        chosen = items[len(pairs) : len(pairs) + more]
        said = {m: answers_of(line, m, chosen, asking, context) for m in asking.models}
        pairs += [
            Pair(i.id, turns(rows[i.id]), {m: said[m][i.id] for m in asking.models}) for i in chosen
        ]
    return Offer.of(pairs)


def _round(missing: int, found: int, asked: int) -> int:
    """Return how many more items to ask: as many as give the missing ones at the rate so far."""
    rate = (found + 1) / (asked + 1)
    return max(LEAST, round(missing / rate)) if asked else missing


def answers_of(
    line: Line, model: str, items: Sequence[Item], asking: Asking, context: Context
) -> dict[str, str]:
    """Return a model's answers by item; those that are kept are not generated again."""
    stamp = f"{stamp_of(line, model)}/{asking.max_new_tokens}"
    file = context.scratch / f"answers-{model}.jsonl"
    kept = dict(_kept(file, stamp))
    missing = [item for item in items if item.id not in kept]
    if missing:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            for item, text in _generate(line, model, missing, asking, context):
                kept[item] = text
                row = {"stamp": stamp, "item": item, "text": text}
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
                stream.flush()
    return {item.id: kept[item.id] for item in items}


def stamp_of(line: Line, model: str) -> str:
    """Return what tells whether a model, and what it is asked, is still the same."""
    made = {"base": ("base",), "tuned": ("base", "adapter")}.get(model, ("onnx",))
    return "/".join((model, *line.digests("tokens", *made).values()))


def _generate(
    line: Line, model: str, items: Sequence[Item], asking: Asking, context: Context
) -> Iterator[tuple[str, str]]:
    voice = load_voice(line.base.model)
    generation = Generation(max_new_tokens=asking.max_new_tokens)
    prompts = [item.prompt for item in items]
    found = generate_batch(open_model(line, model), prompts, generation, Stop(voice.stop_ids))
    for done, (index, ids) in enumerate(found, start=1):
        yield items[index].id, voice.decode(ids).strip()
        context.events.progress(f"answers of {model}", done, len(items))


def open_model(line: Line, name: str) -> CausalLM:
    """Open base or tuned in torch (fp32), or an exported file in ONNX Runtime."""
    if name not in ("base", "tuned"):
        from components.runtime.lm import open_lm

        return open_lm(line.onnx.variant(name), device=line.onnx.facts["execution_provider"])
    from components.model.device import pick_device
    from components.model.opened import open_base, open_tuned

    if name == "base":
        return open_base(line.base, pick_device())
    return open_tuned(line.base, line.adapter, pick_device())


def _kept(file: Path, stamp: str) -> Iterator[tuple[str, str]]:
    """Yield item and text of the whole lines of `file` that bear the stamp."""
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # two writers, or a crash: it is generated again
            continue
        if row["stamp"] == stamp:
            yield row["item"], row["text"]
