"""Exported classifiers, run on the texts that torch has labelled."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from components.contracts.artefacts import write_json
from components.contracts.events import Context
from components.contracts.kinds import (
    Adapter,
    BaseModelFolder,
    Champion,
    Evaluation,
    Onnx,
    Tokens,
    Verification,
)
from components.runtime.ort_classifier import OrtClassifier
from components.runtime.session import nodes_by_provider
from components.scoring.items import Item, Score
from components.scoring.labels import Classifier, Logits, score_labels
from components.scoring.metrics import summarise
from components.scoring.tables import read_items, write_scores
from components.verification.champion import NAME, Rival
from components.verification.parity import check_finite
from components.verification.settings import VerificationSettings
from components.verification.verify import (
    SPEED,
    judge_weights,
    reference_variant,
    variant_slices,
)
from components.verification.weights import compare_weights


def verify_classifier(
    base: BaseModelFolder,
    tokens: Tokens,
    adapter: Adapter,
    evaluation: Evaluation,
    onnx: Onnx,
    settings: VerificationSettings,
    *,
    out: Path,
    context: Context,
    champion: Champion | None = None,
) -> Verification:
    """Do what `components.verification.verify.verify` says, for classifiers.

    Parity is of the logits of all held-out texts; a label is what greedy tokens are for a decoder.
    """
    asked = evaluation.facts["items"]
    items = read_items(tokens, asked["split"], asked["limit"])
    context.events.note("comparing with torch")
    torch_model = merged(base, adapter)
    expected = logits_of(torch_model, items)
    speeds = {"torch": measure(torch_model, items, settings)}
    with Verification.write(out) as draft:
        draft.facts = {"items": len(items), "variants": {}}
        for name in onnx.variants:
            model = OrtClassifier(onnx.variant(name), device=onnx.facts["execution_provider"])
            speeds[name] = measure(model, items, settings)
            found = logits_of(model, items)
            if name == reference_variant(onnx.variants):
                draft.facts["parity"] = parity_facts(name, found, expected, settings)
            scores = score_labels(model, items, events=context.events, label=f"verify {name}")
            write_scores(draft.folder / f"{name}.parquet", scores)
            draft.facts["variants"][name] = {
                "metrics": summarise(scores),
                "bytes": onnx.facts["variants"][name]["bytes"],
                "agreement": agreement(found, expected),
                "ran_on": nodes_by_provider(model.session),
                "weights": compare_weights(onnx, name),
            }
            if asked_slices := evaluation.facts.get("slices"):
                file = draft.folder / f"{name}.parquet"
                told = variant_slices(evaluation, asked_slices, file, {})
                draft.facts["variants"][name]["slices"] = told
        judge_weights(draft.facts)
        if champion is not None:
            draft.facts["champion"] = against_champion(champion, onnx, items, draft.folder, context)
    context.scratch.mkdir(parents=True, exist_ok=True)
    write_json(context.scratch / SPEED, speeds)
    return Verification.open(out)


def merged(base: BaseModelFolder, adapter: Adapter) -> Classifier:
    """Return the tuned classifier in torch, fp32 with full-precision products."""
    import torch

    from components.model.classifier import load_merged_classifier
    from components.model.device import keep_few_kernels, pick_device
    from components.model.torch_classifier import TorchClassifier

    keep_few_kernels()
    torch.set_float32_matmul_precision("highest")
    model, _ = load_merged_classifier(base.model, adapter.model, adapter.facts["labels"])
    return TorchClassifier(model.to(pick_device()))


def logits_of(model: Classifier, items: Sequence[Item]) -> Logits:
    """Return the logits [items, labels], in order; raise `ModelError` if a file overflows."""
    found = dict(model.label_logits([item.prompt for item in items]))
    return check_finite(np.stack([found[index] for index in range(len(items))]))


def parity_facts(
    variant: str, found: Logits, expected: Logits, settings: VerificationSettings
) -> dict[str, Any]:
    """Return the figures and whether they are within the settings."""
    same = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    largest = float(np.abs(found - expected).max())
    close = largest <= settings.max_logit_difference
    return {
        "variant": variant,
        "passed": close and same >= settings.min_identical_greedy * len(found),
        "max_logit_difference": largest,
        "limit": settings.max_logit_difference,
        "prompts": len(found),
        "new_tokens": 0,
        "identical_greedy": same,
        "compared": "labels",
    }


def agreement(found: Logits, expected: Logits) -> dict[str, Any]:
    """Return how far a file's logits are from torch's; `argmax` is the share of equal labels."""
    difference = np.abs(found - expected)
    same = found.argmax(axis=1) == expected.argmax(axis=1)
    return {
        "positions": len(found),
        "argmax": float(same.mean()),
        "mean_logit_difference": float(difference.mean(dtype=np.float64)),
        "max_logit_difference": float(difference.max()),
    }


def measure(
    model: Classifier, items: Sequence[Item], settings: VerificationSettings
) -> dict[str, float]:
    """Return `prefill_tokens_per_s`, one text at a time: the median after one warm-up."""
    longest = max(items, key=lambda item: len(item.prompt)).prompt

    def work() -> None:
        list(model.label_logits([longest]))

    work()
    seconds = []
    for _ in range(settings.speed_repeats):
        started = perf_counter()
        work()
        seconds.append(perf_counter() - started)
    return {"prefill_tokens_per_s": len(longest) / median(seconds)}


def against_champion(
    champion: Champion, onnx: Onnx, items: Sequence[Item], folder: Path, context: Context
) -> dict[str, Any]:
    """Score the champion on the same texts; return the figures, or why there are none."""
    known: dict[str, Any] = {
        key: champion.facts[key] for key in ("there", "name", "sha256") if key in champion.facts
    }
    if not champion.facts["there"]:
        return {**known, "compared": False, "reason": "there is no champion yet"}
    champion.check()
    device = onnx.facts["execution_provider"]
    challenger = onnx.variant(onnx.variants[0])
    rival = Rival(champion.model, challenger, device, Path())
    if not rival.reads_the_same or (champion.model / "genai_config.json").is_file():
        reason = "the champion has another tokenizer than the exported files, or is no classifier"
        context.events.note(f"not compared with the champion: {reason}")
        return {**known, "compared": False, "reason": reason}
    model = OrtClassifier(champion.model, device=rival.device)
    labels = OrtClassifier(rival.challenger, device=rival.device).labels
    if model.labels != labels:
        reason = f"the champion gives the labels {', '.join(model.labels)}"
        context.events.note(f"not compared with the champion: {reason}")
        return {**known, "compared": False, "reason": reason}
    scores: list[Score] = score_labels(model, items, events=context.events, label="verify champion")
    write_scores(folder / f"{NAME}.parquet", scores)
    return {**known, "compared": True, "own_tokens": False, "metrics": summarise(scores)}
