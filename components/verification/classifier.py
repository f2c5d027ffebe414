"""Exported encoders, run on the texts that torch has read: classifiers, and how both kinds go."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from components.contracts.artefacts import write_json
from components.contracts.events import Context, Events
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
from components.runtime.session import Device, nodes_by_provider
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


class Ways(Protocol):
    """What one kind of encoder is asked, in torch and exported. `compared` names it in parity."""

    compared: str

    def merged(self, base: BaseModelFolder, adapter: Adapter) -> Any:
        """Return the tuned model in torch, fp32."""

    def open(self, folder: Path, device: Device) -> Any:
        """Open an exported folder."""

    def logits(self, model: Any, items: Sequence[Item], tokens: Tokens) -> Logits:
        """Return all logits [asked, choices], in order; raise `ModelError` if a file overflows."""

    def score(
        self, model: Any, items: Sequence[Item], tokens: Tokens, events: Events, label: str
    ) -> list[Score]:
        """Return the score of every item."""

    def read(self, model: Any, ids: Sequence[int]) -> None:
        """Read one text, to be timed."""

    def stranger(self, champion: Path, challenger: Path, device: Device) -> str | None:
        """Say why a champion with the same tokenizer cannot be compared, if it cannot."""


class Labels:
    """Classifiers: the logits of the labels."""

    compared = "labels"

    def merged(self, base: BaseModelFolder, adapter: Adapter) -> Classifier:
        return merged_classifier(base, adapter)

    def open(self, folder: Path, device: Device) -> OrtClassifier:
        return OrtClassifier(folder, device=device)

    def logits(self, model: Classifier, items: Sequence[Item], tokens: Tokens) -> Logits:
        del tokens
        return logits_of(model, items)

    def score(
        self, model: Classifier, items: Sequence[Item], tokens: Tokens, events: Events, label: str
    ) -> list[Score]:
        del tokens
        return score_labels(model, items, events=events, label=label)

    def read(self, model: Classifier, ids: Sequence[int]) -> None:
        list(model.label_logits([ids]))

    def stranger(self, champion: Path, challenger: Path, device: Device) -> str | None:
        given = OrtClassifier(champion, device=device).labels
        if given == OrtClassifier(challenger, device=device).labels:
            return None
        return f"the champion gives the labels {', '.join(given)}"


def verify_encoder(
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
    ways: Ways,
) -> Verification:
    """Do what `components.verification.verify.verify` says, for encoders.

    Parity is of the logits of all held-out texts; a label, or a hidden token, is what greedy tokens
    are for a decoder.
    """
    asked = evaluation.facts["items"]
    items = read_items(tokens, asked["split"], asked["limit"], texts=asked["texts"])
    context.events.note("comparing with torch")
    torch_model = ways.merged(base, adapter)
    expected = ways.logits(torch_model, items, tokens)
    speeds = {"torch": measure(ways, torch_model, items, settings)}
    with Verification.write(out) as draft:
        draft.facts = {"items": len(items), "variants": {}}
        for name in onnx.variants:
            model = ways.open(onnx.variant(name), onnx.facts["execution_provider"])
            speeds[name] = measure(ways, model, items, settings)
            found = ways.logits(model, items, tokens)
            if name == reference_variant(onnx.variants):
                draft.facts["parity"] = parity_facts(name, found, expected, settings, ways.compared)
            scores = ways.score(model, items, tokens, context.events, f"verify {name}")
            write_scores(draft.folder / f"{name}.parquet", scores)
            draft.facts["variants"][name] = {
                "metrics": summarise(scores),
                "bytes": onnx.facts["variants"][name]["bytes"],
                "agreement": agreement(found, expected),
                "ran_on": nodes_by_provider(*model.sessions),
                "weights": compare_weights(onnx, name),
            }
            if asked_slices := evaluation.facts.get("slices"):
                file = draft.folder / f"{name}.parquet"
                told = variant_slices(evaluation, asked_slices, file, {})
                draft.facts["variants"][name]["slices"] = told
        judge_weights(draft.facts)
        if champion is not None:
            rival = Contest(champion, onnx, items, tokens, ways)
            draft.facts["champion"] = rival.judge(draft.folder, context)
    context.scratch.mkdir(parents=True, exist_ok=True)
    write_json(context.scratch / SPEED, speeds)
    return Verification.open(out)


def merged_classifier(base: BaseModelFolder, adapter: Adapter) -> Classifier:
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
    variant: str,
    found: Logits,
    expected: Logits,
    settings: VerificationSettings,
    compared: str,
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
        "compared": compared,
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
    ways: Ways, model: Any, items: Sequence[Item], settings: VerificationSettings
) -> dict[str, float]:
    """Return `prefill_tokens_per_s`, one text at a time: the median after one warm-up."""
    longest = max((item.prompt or item.text for item in items), key=len)

    def work() -> None:
        ways.read(model, longest)

    work()
    seconds = []
    for _ in range(settings.speed_repeats):
        started = perf_counter()
        work()
        seconds.append(perf_counter() - started)
    return {"prefill_tokens_per_s": len(longest) / median(seconds)}


@dataclass(frozen=True)
class Contest:
    """The champion on the texts of its challengers."""

    champion: Champion
    onnx: Onnx
    items: Sequence[Item]
    tokens: Tokens
    ways: Ways

    def judge(self, folder: Path, context: Context) -> dict[str, Any]:
        """Score the champion on the same texts; return the figures, or why there are none."""
        told = self.champion.facts
        known: dict[str, Any] = {k: told[k] for k in ("there", "name", "sha256") if k in told}
        if not told["there"]:
            return {**known, "compared": False, "reason": "there is no champion yet"}
        self.champion.check()
        device = self.onnx.facts["execution_provider"]
        if (reason := self.stranger(device)) is not None:
            context.events.note(f"not compared with the champion: {reason}")
            return {**known, "compared": False, "reason": reason}
        model = self.ways.open(self.champion.model, device)
        scores = self.ways.score(model, self.items, self.tokens, context.events, "verify champion")
        write_scores(folder / f"{NAME}.parquet", scores)
        return {**known, "compared": True, "own_tokens": False, "metrics": summarise(scores)}

    def stranger(self, device: Device) -> str | None:
        """Say why the champion cannot be asked the same, if it cannot."""
        challenger = self.onnx.variant(self.onnx.variants[0])
        rival = Rival(self.champion.model, challenger, device, Path())
        alike = head_of(rival.folder) == head_of(challenger)
        if not rival.reads_the_same or not alike:
            return "the champion has another tokenizer than the exported files, or another head"
        return self.ways.stranger(rival.folder, challenger, device)


def head_of(folder: Path) -> str:
    """Return the class name's last part in an exported encoder's config ("" if it is none)."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return str((config.get("architectures") or [""])[0]).partition("For")[2]
