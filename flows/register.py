"""The register step: the file that the verdict names becomes a model version with an alias."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import (
    Dataset,
    Onnx,
    Registration,
    Report,
    Verdict,
    Verification,
)
from components.contracts.settings import Settings
from components.formats.serving import serving_of

if TYPE_CHECKING:
    from flows.registry import Shipped

EXAMPLE = "I love this."
"""The request that a version must answer when no sample of the report can be asked."""

PROBES = 3


class RegistrySettings(Settings):
    """The name under which the MLflow registry keeps this line's models."""

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^/:]+$")


@dataclass(frozen=True)
class RunContext(Context):
    """What the door tells besides: the MLflow run, and the tags that lead back to its making."""

    run: str = ""
    lineage: Mapping[str, str] = field(default_factory=dict)


def register(
    dataset: Dataset,
    onnx: Onnx,
    verification: Verification,
    verdict: Verdict,
    report: Report,
    settings: RegistrySettings,
    *,
    out: Path,
    context: RunContext,
) -> Registration:
    """Register `verdict.facts["ship"]` as a version: `challenger`, and `champion` if it may be.

    The version must answer as the exported folder itself does before it gets an alias. The
    artefact names no run and no version: those are in the record and in MLflow.

    Raises:
        ModelError: the version, loaded back, does not answer as the file does.
        RegistryError: the store gives back other bytes, or another champion came meanwhile.
    """
    from components.runtime.served import question_of
    from flows import registry
    from flows.registry_bundle import log_bundle
    from flows.registry_transaction import Entry, commit

    ship, promote = str(verdict.facts["ship"]), bool(verdict.facts["promote"])
    aliases = ["challenger", "champion"] if promote else ["challenger"]
    digest = folder_digest(onnx, ship)
    asked = [
        {**one, "text": question_of(onnx.variant(ship), one["text"])} for one in examples(report)
    ]
    shipped = registry.Shipped(
        name=settings.name,
        folder=onnx.variant(ship),
        config=serving_config(dataset, onnx),
        example=asked[0],
        tags={**context.lineage, **verdict_tags(verdict), registry.HASH: digest},
    )
    context.events.note(f"logging {ship} to MLflow")
    entry = Entry(shipped, asked, promote, probe)
    number = commit(context.run, entry)
    log_bundle(context.root, context.lineage.get("recipe", ""), context.run)
    context.events.note(f"{settings.name} version {number}: {', '.join(aliases)}")
    with Registration.write(out) as draft:
        draft.facts = {
            "name": settings.name,
            "aliases": aliases,
            "ship": ship,
            "promote": promote,
            registry.HASH: digest,
        }
    return Registration.open(out)


def probe(shipped: "Shipped", answer: str) -> None:
    """Raise `ModelError` unless the version answers exactly as the exported folder does."""
    from components.runtime.served import open_served
    from components.runtime.shape import Shape

    config, request = shipped.config, shipped.example
    model = open_served(shipped.folder, device=config["device"])
    prompt = Shape.of(config).ask(request["text"])
    wanted = model.answer(prompt, max_new_tokens=request["max_new_tokens"])
    if answer != wanted:
        raise ModelError(
            f"the registered model answers {answer!r}, the exported file {wanted!r}",
            fix="no alias was moved; delete the version in MLflow and run again",
        )


def examples(report: Report) -> list[dict[str, Any]]:
    """Return what a version is asked before an alias moves to it: the report's first samples.

    The first one is also the example of the model's signature.
    """
    samples = report.path / "samples.jsonl"
    lines = samples.read_text(encoding="utf-8").split("\n") if samples.is_file() else []
    texts = [json.loads(line).get("text") for line in lines if line]
    asked = list(dict.fromkeys(text for text in texts if text))[:PROBES] or [EXAMPLE]
    return [{"text": text, "max_new_tokens": 8} for text in asked]


def serving_config(dataset: Dataset, onnx: Onnx) -> dict[str, Any]:
    """Return how a text is put to the model: with the turns it was trained on, on which device."""
    return {
        **serving_of(dataset.facts["format"])._asdict(),
        "device": onnx.facts.get("execution_provider", "cpu"),
    }


def verdict_tags(verdict: Verdict) -> dict[str, str]:
    """Return the verdict with its reasons as tags of a version."""
    reasons = "; ".join(str(reason["text"]) for reason in verdict.facts["reasons"])
    return {
        "ship": str(verdict.facts["ship"]),
        "verdict": "promote" if verdict.facts["promote"] else "keep",
        "verdict.reasons": reasons[:4000],
    }


def folder_digest(onnx: Onnx, ship: str) -> str:
    """Return one SHA-256 over names and bytes of the shipped folder, from the manifest."""
    files = {name: entry for name, entry in onnx.files.items() if name.startswith(f"{ship}/")}
    lines = [f"{name} {files[name]['sha256']}" for name in sorted(files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
