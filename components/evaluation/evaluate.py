"""Scoring the base and the tuned model in torch, in the precision that will be exported."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.errors import DataError
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Dataset, Evaluation, Raw, Tokens
from components.evaluation.settings import EvaluationSettings, SliceSettings
from components.evaluation.slicing import slicings
from components.scoring.items import Item
from components.scoring.metrics import summarise
from components.scoring.preference import implicit_reward, is_pair
from components.scoring.questions import write_questions
from components.scoring.slices import Slicing, measure_slices, write_slicings
from components.scoring.tables import read_items, read_scores, write_scores

if TYPE_CHECKING:
    from components.evaluation.swap_run import SwapRun
    from components.evaluation.task_run import TaskRun
    from components.model.torch_lm import TorchLM


def evaluate(
    base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    adapter: Adapter,
    settings: EvaluationSettings,
    *,
    out: Path,
    context: Context,
    raw: Raw | None = None,
) -> Evaluation:
    """Score both models on the same held-out items, in fp32.

    Writes `base.parquet` and `tuned.parquet` (one row an item), the metrics as facts, and the rows
    as text for models that read other tokens. Where the
    section names tasks, each is a folder below `tasks/` with its requests and both models' answers;
    the facts then hold `tasks` and, pair by pair, `comparisons`. Every metric by slice is under
    `slices`; `raw` is needed where these are of columns.

    Raises:
        DataError: the split is empty, or a task's rows do not fit it.
        RecipeError: a task names what is not there.
    """
    from components.scoring.score import score_items

    split, limit, texts = settings.split, settings.max_samples, settings.max_text_samples
    items = read_items(tokens, split, limit, texts=texts)
    if not items:
        raise DataError(
            f"the {settings.split} split has no rows to evaluate on",
            fix="give it a share under validation.splits in the recipe",
        )
    prefix = int(tokens.facts["prefix_token"])
    tasks = ask(base, dataset, tokens, settings, context)
    swaps = ask_swaps(base, dataset, settings, context)
    with Evaluation.write(out) as draft:
        write_questions(draft.folder / "questions.parquet", dataset.split(split), items)
        metrics: dict[str, Any] = {}
        for name, load in models(base, adapter).items():
            lm = load()
            scores = score_items(
                lm, items, prefix_token=prefix, events=context.events, label=f"evaluate {name}"
            )
            write_scores(draft.folder / f"{name}.parquet", scores)
            metrics[name] = summarise(scores)
            if tasks is not None:
                tasks.put(lm, name, draft.folder / "tasks")
            if swaps is not None:
                swaps.put(lm, name, draft.folder)
            del lm  # one model at a time in memory
        draft.facts = {
            "items": {"split": split, "limit": limit, "texts": texts, "count": len(items)},
            "prefix_token": prefix,
            "models": metrics,
            **(tasks.facts() if tasks is not None else {}),
            **({"bias": swaps.facts()} if swaps is not None else {}),
        }
        if all(is_pair(item) for item in items):
            draft.facts["preference"] = rewards(draft.folder)
        if settings.slices is not None:
            parts = slicings(items, dataset, raw, split, settings.slices)
            draft.facts["slices"] = slice_facts(draft.folder, items, parts, settings.slices, tasks)
    return Evaluation.open(out)


def slice_facts(
    folder: Path,
    items: Sequence[Item],
    parts: Sequence[Slicing],
    settings: SliceSettings,
    tasks: "TaskRun | None",
) -> dict[str, Any]:
    """Return both models' figures by slice, and what the exported files need to do the same."""
    base, tuned = (read_scores(folder / f"{name}.parquet") for name in ("base", "tuned"))
    limits = settings.model_dump(include={"min_items", "alpha"})
    found = {
        name: {task: one.answers for task, one in answered.items()}
        for name, answered in (tasks.found.items() if tasks is not None else ())
    }
    return {
        "groups": write_slicings(folder, [item.id for item in items], parts),
        "limits": limits,
        "models": {
            "base": measure_slices(parts, base, tasks=found.get("base"), **limits),
            "tuned": measure_slices(parts, tuned, base, tasks=found.get("tuned"), **limits),
        },
    }


def rewards(folder: Path) -> dict[str, Any]:
    """Return how the tuned model rewards the pairs of a preference recipe, against the base."""
    tuned, base = (read_scores(folder / f"{name}.parquet") for name in ("tuned", "base"))
    return implicit_reward(tuned, base).facts()


def ask(
    base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    settings: EvaluationSettings,
    context: Context,
) -> "TaskRun | None":
    """Return the tasks of the section, ready to be put to models; None if it names none."""
    if not settings.names():
        return None
    from components.evaluation.prepare import Sources, prepare
    from components.evaluation.task_run import TaskRun
    from components.scoring.requests import Desk
    from components.scoring.voice import load_voice

    voice = load_voice(base.model)
    asked = prepare(Sources(base, dataset, tokens, voice, context.root, settings))
    desk = Desk(voice, context.root, context.events, "evaluate")
    return TaskRun(asked, desk, settings.alpha)


def ask_swaps(
    base: BaseModelFolder, dataset: Dataset, settings: EvaluationSettings, context: Context
) -> "SwapRun | None":
    """Return the identity-swap test, ready to be put to models; None if it is not asked for."""
    if settings.bias is None:
        return None
    from components.evaluation.swap_run import SwapRun
    from components.evaluation.swapped import swap_requests
    from components.scoring.voice import load_voice

    voice, limit = load_voice(base.model), base.facts.get("max_position_embeddings")
    asked = swap_requests(dataset, settings.split, voice, limit, context.root, settings.bias)
    return SwapRun(*asked, context.events)


def models(base: BaseModelFolder, adapter: Adapter) -> "dict[str, Callable[[], TorchLM]]":
    """Return how to load each model, so that one at a time is in memory."""
    import torch

    from components.model.base import load_base
    from components.model.device import keep_few_kernels, pick_device
    from components.model.merge import load_merged
    from components.model.torch_lm import TorchLM

    keep_few_kernels()
    # oneDNN's fp32 kernels: twice the speed of the default ones on CPU, still fp32 accumulation.
    torch.set_float32_matmul_precision("medium")
    device = pick_device()
    return {
        "base": lambda: TorchLM(load_base(base.model, dtype=torch.float32, device=device)),
        "tuned": lambda: TorchLM(load_merged(base.model, adapter.model)[0].to(device)),
    }
