"""The verification step: the exported files themselves, run on the items that torch answered."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from components.contracts.task_types import task_type_of
from components.runtime.lm import OpenLM, open_lm
from components.runtime.session import nodes_by_provider
from components.scoring.items import Item
from components.scoring.lm import CausalLM
from components.scoring.metrics import summarise
from components.scoring.tables import read_items, read_scores, write_scores
from components.verification.champion import ask_champion
from components.verification.parity import (
    Agreement,
    Parity,
    agreement,
    beginnings,
    check_parity,
    choose_prompts,
)
from components.verification.settings import VerificationSettings
from components.verification.speed import measure_speed
from components.verification.weights import changed_weights, compare_weights

if TYPE_CHECKING:
    from components.model.torch_lm import TorchLM
    from components.verification.variant_tasks import VariantTasks

SPEED = "speed.json"
PRECISION = ("fp32", "bf16", "fp16", "int8", "int4")


def verify(
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
    """Score every exported file in ONNX Runtime and compare the most precise one with torch.

    What is asked of a file is what its kind of model can do. `ran_on` tells for each file how many
    nodes of its graph ran on which execution provider; `weights`, how far its rounded weights are
    from the fp32 file's.

    `champion` is the file that is in use now, where there is one: it answers the same items and
    tasks, and each variant is compared with it. Files that are the champion's, byte for byte, have
    answered already.

    Writes one Parquet table of per-item scores a variant. A file that differs from torch is a
    result (`facts["parity"]["passed"]` is false), not an error: the gate judges it. Speeds are no
    property of the files and change from run to run, so they are no part of the artefact: they go
    to `speed.json` in `context.scratch`, by model (see `measure_speed`).

    Raises:
        ArtefactError: a byte of the export is not what its manifest says.
        ModelError: a file cannot be run on the device it was exported for, or overflows.
    """
    from components.verification.kinds import VERIFIERS

    onnx.check()
    inputs = (base, tokens, adapter, evaluation, onnx, settings)
    return VERIFIERS[task_type_of(base)](*inputs, out=out, context=context, champion=champion)


@dataclass(frozen=True)
class Proof:
    """How one kind of model that answers with text is held against torch.

    `merged` gives the tuned model in torch, `parity` compares a file with it.
    """

    merged: Callable[[BaseModelFolder, Adapter], AbstractContextManager[Any]]
    parity: Callable[[CausalLM, CausalLM, Sequence[Sequence[int]], int], Parity]


def verify_decoder(
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
    proof: Proof | None = None,
) -> Verification:
    """Do what `verify` says for decoders: prompts are gone on from, answers and texts scored."""
    proof = proof or Proof(merged_model, check_parity)
    asked = evaluation.facts["items"]
    items = read_items(tokens, asked["split"], asked["limit"], texts=asked["texts"])
    prefix = int(evaluation.facts.get("prefix_token", 0))
    speeds: dict[str, dict[str, Any]] = {}
    with Verification.write(out) as draft:
        context.events.note("comparing with torch")
        parity, speeds["torch"] = _against_torch(
            base, adapter, onnx, items, prefix, settings, proof
        )
        draft.facts = {
            "items": len(items),
            "parity": parity_facts(reference_variant(onnx.variants), parity, settings),
            "variants": {},
        }
        tasks = variant_tasks(base, evaluation, context)
        for name in onnx.variants:
            speeds[name] = variant_speed(onnx, name, beginnings(items, prefix), settings)
            lm = open_variant(onnx, name, threads=1)
            facts = _score(lm, name, items, prefix, draft.folder, context)
            facts["bytes"] = onnx.facts["variants"][name]["bytes"]
            facts["agreement"] = against(lm, name, parity, onnx).facts()
            facts["ran_on"] = nodes_by_provider(*lm.sessions)
            facts["weights"] = compare_weights(onnx, name)
            if tasks is not None:
                whole = open_variant(onnx, name)
                facts["tasks"] = tasks.put(whole, name, draft.folder / "tasks")
            if asked_swaps := evaluation.facts.get("bias"):
                facts["bias"] = variant_bias(
                    lm, name, evaluation, asked_swaps["labels"], draft.folder, context
                )
            if asked_slices := evaluation.facts.get("slices"):
                answers = tasks.answers[name] if tasks is not None else {}
                file = draft.folder / f"{name}.parquet"
                facts["slices"] = variant_slices(evaluation, asked_slices, file, answers)
            draft.facts["variants"][name] = facts
        judge_weights(draft.facts)
        if champion is not None:
            draft.facts["champion"] = ask_champion(
                champion, onnx, evaluation.questions, items, prefix, tasks, draft, context
            )
        if tasks is not None:
            draft.facts["comparisons"] = tasks.comparisons()
    context.scratch.mkdir(parents=True, exist_ok=True)
    write_json(context.scratch / SPEED, speeds)
    return Verification.open(out)


def open_variant(onnx: Onnx, name: str, *, threads: int = 0) -> OpenLM:
    """Open a variant on the device it was exported for (`threads` as in `OrtLM`)."""
    return open_lm(onnx.variant(name), threads=threads, device=onnx.facts["execution_provider"])


def variant_speed(
    onnx: Onnx, name: str, prompts: Sequence[Sequence[int]], settings: VerificationSettings
) -> dict[str, Any]:
    """Return how fast a variant is on the device it was exported for, with all CPUs."""
    on_cpu = onnx.facts["execution_provider"] == "cpu"
    load = partial(open_variant, onnx, name)
    return measure_speed(load, prompts, settings, in_main_memory=on_cpu)


def against(lm: CausalLM, name: str, parity: Parity, onnx: Onnx) -> Agreement:
    """Return a variant's agreement with torch; that of the reference variant is known already."""
    if name == reference_variant(onnx.variants):
        return parity.agreement
    return agreement(lm, parity.references)


def reference_variant(variants: Sequence[str]) -> str:
    """Return the most precise of the variants: the one that is held against torch."""
    return min(variants, key=PRECISION.index)


def variant_bias(
    lm: CausalLM,
    name: str,
    evaluation: Evaluation,
    labels: Sequence[str],
    folder: Path,
    context: Context,
) -> dict[str, Any]:
    """Put the evaluation's swapped sentences to a file; return its gaps."""
    from components.scoring.bias import answer_swaps, measure_bias, read_swaps

    requests = read_swaps(evaluation.path)
    label = f"verify {name}: swapped identities"
    answers = answer_swaps(lm, requests, folder, name, context.events, label)
    return measure_bias(requests, answers, labels)


def variant_slices(
    evaluation: Evaluation, asked: Mapping[str, Any], scores: Path, answers: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a file's figures by the slices of the evaluation, against the base."""
    from components.scoring.slices import measure_slices, read_slicings

    parts = read_slicings(evaluation.path, asked["groups"])
    base = read_scores(evaluation.scores("base"))
    return measure_slices(parts, read_scores(scores), base, tasks=answers, **asked["limits"])


def variant_tasks(
    base: BaseModelFolder, evaluation: Evaluation, context: Context
) -> "VariantTasks | None":
    """Return the tasks that the evaluation asked, for the exported files; None if it asked none."""
    if not evaluation.facts.get("tasks"):
        return None
    from components.scoring.requests import Desk
    from components.scoring.voice import load_voice
    from components.verification.variant_tasks import VariantTasks

    desk = Desk(load_voice(base.model), context.root, context.events, "verify")
    return VariantTasks(evaluation, desk)


@contextmanager
def merged_model(base: BaseModelFolder, adapter: Adapter) -> "Iterator[TorchLM]":
    """Give the tuned model in torch, fp32 with full-precision products, and free it afterwards."""
    import torch

    from components.model.device import keep_few_kernels, pick_device
    from components.model.merge import load_merged
    from components.model.torch_lm import TorchLM

    keep_few_kernels()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        model, _ = load_merged(base.model, adapter.model)
        yield TorchLM(model.to(pick_device()))
    finally:
        torch.set_float32_matmul_precision(before)


def parity_facts(variant: str, parity: Parity, settings: VerificationSettings) -> dict[str, Any]:
    """Return the figures and whether they are within the settings."""
    identical = parity.identical_greedy / parity.prompts
    return {
        "variant": variant,
        "passed": parity.max_logit_difference <= settings.max_logit_difference
        and identical >= settings.min_identical_greedy,
        "max_logit_difference": parity.max_logit_difference,
        "limit": settings.max_logit_difference,
        "prompts": parity.prompts,
        "new_tokens": settings.parity_new_tokens,
        "identical_greedy": parity.identical_greedy,
    }


def judge_weights(facts: dict[str, Any]) -> None:
    """Let parity fail where a variant's weights are not those of the fp32 file."""
    changed = changed_weights(facts["variants"])
    facts["parity"]["changed_weights"] = changed
    facts["parity"]["passed"] &= not changed


def _against_torch(
    base: BaseModelFolder,
    adapter: Adapter,
    onnx: Onnx,
    items: Sequence[Item],
    prefix: int,
    settings: VerificationSettings,
    proof: Proof,
) -> tuple[Parity, dict[str, Any]]:
    """Return parity and torch's own speed. Both models are in memory here, and gone after."""
    starts = beginnings(items, prefix)
    prompts = choose_prompts(starts, settings.parity_prompts)
    with proof.merged(base, adapter) as torch_lm:
        tensors = [*torch_lm.model.parameters(), *torch_lm.model.buffers()]
        speed = measure_speed(
            lambda: torch_lm,
            starts,
            settings,
            held_bytes=sum(tensor.nbytes for tensor in tensors),
            in_main_memory=torch_lm.model.device.type == "cpu",
        )
        lm = open_variant(onnx, reference_variant(onnx.variants))
        return proof.parity(lm, torch_lm, prompts, settings.parity_new_tokens), speed


def _score(
    lm: CausalLM, name: str, items: Sequence[Item], prefix: int, folder: Path, context: Context
) -> dict[str, Any]:
    from components.scoring.score import score_items

    scores = score_items(
        lm, items, prefix_token=prefix, events=context.events, label=f"verify {name}"
    )
    write_scores(folder / f"{name}.parquet", scores)
    return {"metrics": summarise(scores)}
