"""The champion's files on held-out rows that came after it was judged."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Champion, Dataset, Tokens
from components.contracts.task_types import CAUSAL_LM, SEQ_CLS, task_type_of
from components.runtime.session import Device
from components.scoring.items import Item, Score
from components.scoring.metrics import summarise
from components.scoring.questions import write_questions
from components.scoring.tables import read_items, read_scores
from components.verification.champion import NAME, Rival

FIGURES = ("items", "accuracy", "accuracy_interval", "bits_per_byte")


def rescore(
    champion: Champion,
    base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    known: frozenset[str],
    context: Context,
    *,
    split: str = "test",
    limit: int | None = None,
    texts: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the champion's figures on the held-out rows whose ids are `known`, and on the others.

    {"known": …, "fresh": …}, each with `items`, `accuracy`, `accuracy_interval` (95 %, Wilson) and
    `bits_per_byte`. Both parts are scored in one go by the same code, so that nothing but the rows
    is different. `base` tells by its tokenizer whether the champion reads the same ids; if not, it
    is asked the same words. `split`, `limit` and `texts` are those of the recipe's evaluation.

    Raises `ModelError` for a kind of model that cannot be asked here, or a champion with another
    tokenizer or other labels.
    """
    ask = ASKED.get(task_type_of(base))
    if ask is None:
        raise ModelError(
            f"a champion of kind {task_type_of(base)} cannot be scored by itself",
            fix="`tuneline run` compares it with a new model",
        )
    items = read_items(tokens, split, limit, texts=texts)
    scores = ask(champion, base, tokens, dataset.split(split), items, context) if items else []
    return {
        "known": _figures([one for one in scores if one.id in known]),
        "fresh": _figures([one for one in scores if one.id not in known]),
    }


def _figures(scores: Sequence[Score]) -> dict[str, Any]:
    found: Mapping[str, Any] = summarise(scores)
    return {name: found[name] for name in FIGURES}


def _ask_decoder(
    champion: Champion,
    base: BaseModelFolder,
    tokens: Tokens,
    rows: Path,
    items: list[Item],
    context: Context,
) -> list[Score]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_questions(folder / "questions.parquet", rows, items)
        rival = Rival(champion.model, base.model, _device(champion), folder / "questions.parquet")
        prefix = int(tokens.facts["prefix_token"])
        facts = rival.answer(items, prefix, None, folder, context)
        if not facts["compared"]:
            raise ModelError(f"the champion cannot be scored: {facts['reason']}")
        return read_scores(folder / f"{NAME}.parquet")


def _ask_classifier(
    champion: Champion,
    base: BaseModelFolder,
    tokens: Tokens,
    rows: Path,
    items: list[Item],
    context: Context,
) -> list[Score]:
    from components.runtime.ort_classifier import OrtClassifier
    from components.scoring.labels import score_labels

    del tokens
    rival = Rival(champion.model, base.model, _device(champion), rows)
    if not rival.reads_the_same or not (champion.model / "config.json").is_file():
        raise ModelError(
            "the champion cannot be scored: it has another tokenizer, or is no classifier"
        )
    model = OrtClassifier(champion.model, device=_device(champion))
    return score_labels(model, items, events=context.events, label="champion again")


def _device(champion: Champion) -> Device:
    return cast(Device, champion.facts.get("device", "cpu"))


ASKED: dict[str, Callable[..., list[Score]]] = {CAUSAL_LM: _ask_decoder, SEQ_CLS: _ask_classifier}
"""Who asks a kind of model (`model.task_type`)."""
