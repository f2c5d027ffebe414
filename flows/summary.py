"""The facts of a recipe's last run, gathered from its record, its artefacts and dvc.lock."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from components.contracts.artefacts import MANIFEST, read_manifest, sha256
from components.contracts.errors import ArtefactError
from components.retraining.facts import Action, Start
from flows.environment import scratch_folder
from flows.locked import locked_hashes
from flows.record import Door, Fault, Git, Registered, RunRecord, StageRecord, Status, read_record
from flows.steps import STEPS
from flows.task_facts import TaskFacts, task_facts


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArtefactFacts(_Facts):
    """One artefact on disk. `manifest_sha256` names all its bytes, `dvc_md5` is DVC's hash."""

    path: str
    stage: str
    manifest_sha256: str
    dvc_md5: str | None
    bytes: int


class SliceFacts(_Facts):
    """What a model scored on one part of the items; intervals are 95 %."""

    slicing: str
    group: str
    items: int
    accuracy: float | None = None
    accuracy_interval: tuple[float, float] | None = None
    answer_perplexity: float | None = None
    answer_perplexity_interval: tuple[float, float] | None = None
    bits_per_byte: float | None = None
    bits_per_byte_interval: tuple[float, float] | None = None


class SpeedFacts(_Facts):
    """How fast a model was on this machine at one batch size.

    Rates are of all rows together, latencies of a request of `prompt_tokens` and `new_tokens`, a
    token's of one step of writing; `memory_bytes` is what model and request added to the process.
    """

    requests: int
    prompt_tokens: int
    new_tokens: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    latency_p50_s: float
    latency_p95_s: float
    token_p50_s: float
    token_p95_s: float
    memory_bytes: int | None


class ModelFacts(_Facts):
    """What one model or exported file scored.

    Intervals are 95 %; `tokens_per_second` is decoding on this machine. `worst_slice` names the
    part of the items that it does worst on, `worse_slices` those on which it does worse than base.
    """

    items: int | None = None
    accuracy: float | None = None
    accuracy_interval: tuple[float, float] | None = None
    exact_match: float | None = None
    exact_match_interval: tuple[float, float] | None = None
    perplexity: float | None = None
    answer_perplexity: float | None = None
    bits_per_byte: float | None = None
    bytes: int | None = None
    tokens_per_second: float | None = None
    speed: dict[str, SpeedFacts] = Field(default_factory=dict, description="by batch size")
    worst_slice: str | None = None
    worse_slices: list[str] = Field(default_factory=list)
    slices: list[SliceFacts] = Field(default_factory=list)


class ReasonFacts(_Facts):
    """One check of the gate."""

    check: str
    passed: bool
    text: str
    task: str | None = None
    guard: str | None = None


class VerdictFacts(_Facts):
    """Whether `ship`, an exported file, may become champion, and why."""

    promote: bool
    ship: str
    reasons: list[ReasonFacts]


class RunFacts(_Facts):
    """How the run was made and how each of its stages went."""

    door: Door
    status: Status
    started: str
    mlflow_run_id: str | None
    prefect_flow_run_id: str | None
    git: Git
    stages: dict[str, StageRecord]
    faults: dict[str, Fault]


class TickFacts(_Facts):
    """What `tuneline retrain` decided last, with its reasons in words.

    `start` says what a fine-tune began from, `champion` is the version that was in use then,
    `mlflow_run_id` the run that the decision is tagged on.
    """

    at: str
    action: Action
    start: Start | None
    reasons: list[str]
    champion: str | None
    prefect_flow_run_id: str | None
    mlflow_run_id: str | None


class LineFacts(_Facts):
    """What `tuneline show RECIPE --json` prints. `run` is null where only artefacts are known."""

    format: Literal[1] = 1
    recipe: str
    run: RunFacts | None
    artefacts: dict[str, ArtefactFacts]
    models: dict[str, ModelFacts] = Field(description="base, tuned, then each exported file")
    tasks: dict[str, TaskFacts] = Field(
        default_factory=dict, description="tasks and guards of the evaluation, in their order"
    )
    verdict: VerdictFacts | None
    registration: Registered | None
    retrain: TickFacts | None = Field(default=None, description="the last tick of the schedule")


def gather(root: Path, recipe: str) -> LineFacts:
    """Return all that is known of a recipe now; what was not made yet is left out."""
    record = read_record(root, recipe)
    facts = {name: _facts(root / "data" / recipe / step.output) for name, step in STEPS.items()}
    return LineFacts(
        recipe=recipe,
        run=_run(record) if record else None,
        artefacts=_artefacts(root, recipe),
        models=_models(facts, read_speeds(root, recipe)),
        tasks=task_facts(facts["evaluate"], facts["verify"]),
        verdict=_verdict(facts["gate"]),
        registration=record.registration if record else None,
        retrain=_tick(root, recipe),
    )


def _tick(root: Path, recipe: str) -> TickFacts | None:
    from flows.retrain_tick import read_tick

    tick = read_tick(root, recipe)
    if tick is None:
        return None
    return TickFacts(
        at=tick.at,
        **tick.decision.model_dump(),
        champion=tick.champion.version if tick.champion else None,
        prefect_flow_run_id=tick.prefect_flow_run_id,
        mlflow_run_id=tick.mlflow_run_id,
    )


def _run(record: RunRecord) -> RunFacts:
    return RunFacts(**{name: getattr(record, name) for name in RunFacts.model_fields})


def _artefacts(root: Path, recipe: str) -> dict[str, ArtefactFacts]:
    hashes = locked_hashes(root, recipe)
    found = {}
    for name, step in STEPS.items():
        folder = root / "data" / recipe / step.output
        if not (folder / MANIFEST).is_file():
            continue
        files: Mapping[str, Any] = read_manifest(folder)["files"]
        found[step.output] = ArtefactFacts(
            path=folder.relative_to(root).as_posix(),
            stage=name,
            manifest_sha256=sha256(folder / MANIFEST),
            dvc_md5=hashes.get(name),
            bytes=sum(entry["size"] for entry in files.values()),
        )
    return found


def _facts(folder: Path) -> dict[str, Any]:
    try:
        return dict(read_manifest(folder)["facts"])
    except ArtefactError:
        return {}


def _models(
    facts: Mapping[str, Mapping[str, Any]], speeds: Mapping[str, Any]
) -> dict[str, ModelFacts]:
    found: dict[str, dict[str, Any]] = {
        name: dict(metrics) for name, metrics in facts["evaluate"].get("models", {}).items()
    }
    variants = facts["verify"].get("variants", {})
    for name, variant in sorted(variants.items(), key=lambda entry: -entry[1].get("bytes", 0)):
        found[name] = {**variant["metrics"], "bytes": variant.get("bytes")}
    parts = facts["evaluate"].get("slices", {}).get("models", {})
    parts = parts | {name: one["slices"] for name, one in variants.items() if "slices" in one}
    return {
        name: ModelFacts(
            **{key: value for key, value in metrics.items() if key in ModelFacts.model_fields},
            tokens_per_second=speeds.get(name, {}).get("decode_tokens_per_s"),
            speed=speeds.get(name, {}).get("batches", {}),
            **_slices(parts.get(name)),
        )
        for name, metrics in found.items()
    }


def _slices(found: Mapping[str, Any] | None) -> dict[str, Any]:
    if not found:
        return {}
    wanted = SliceFacts.model_fields
    return {
        "worst_slice": found["words"],
        "worse_slices": found["harmed"],
        "slices": [
            SliceFacts(**{key: value for key, value in row.items() if key in wanted})
            for row in found["slices"]
        ],
    }


def _verdict(facts: Mapping[str, Any]) -> VerdictFacts | None:
    if not facts:
        return None
    return VerdictFacts(**{name: facts[name] for name in VerdictFacts.model_fields})


def read_speeds(root: Path, recipe: str) -> dict[str, Any]:
    """Return speeds by model. They depend on the machine, so no artefact holds them."""
    file = scratch_folder(root, recipe) / "speed.json"
    if not file.is_file():
        return {}
    speeds: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return speeds | {"tuned": speeds["torch"]} if "torch" in speeds else speeds


if __name__ == "__main__":  # renews docs/show.schema.json
    print(json.dumps(LineFacts.model_json_schema(mode="serialization"), indent=2, sort_keys=True))
