"""Fine-tuning an adapter: the step."""

import csv
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.errors import DataError
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.contracts.task_types import task_type_of
from components.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from components.training.collate import Inputs
    from components.training.group import Group
    from components.training.loop import Progress, Trainer
    from components.training.rows import Row, Rows

CURVE = ["step", "loss", "eval_loss", "learning_rate", "grad_norm", "tokens"]


def train(
    base: BaseModelFolder,
    tokens: Tokens,
    settings: TrainingSettings,
    *,
    out: Path,
    context: Context,
) -> Adapter:
    """Train a LoRA adapter on the train split and keep the one with the lowest validation loss.

    Checkpoints go to `context.scratch`; after a crash the same call goes on from the last one.
    With `num_processes` it starts so many that train together, or, where it is itself one of
    several that were started (torchrun), takes its part; the first one writes the artefact.

    Raises:
        DataError: there is no row with a trained token.
        ModelError: the model cannot be loaded or adapted, the loss is not finite, or one row is
            too large for the memory.
        SpaceError: the disk is full.
        StoppedError: SIGTERM came; a checkpoint was written first.
        GroupBrokenError: one of several processes went away.
    """
    from components.training.group import ALONE
    from components.training.many import in_group, launch, member, own_context

    if in_group():
        with member(settings) as group:
            mine = own_context(context, group)
            return train_together(group, base, tokens, settings, out=out, context=mine)
    if settings.num_processes == 1:
        return train_together(ALONE, base, tokens, settings, out=out, context=context)
    launch(base, tokens, settings, out, context)
    return Adapter.open(out)


def train_together(
    group: "Group",
    base: BaseModelFolder,
    tokens: Tokens,
    settings: TrainingSettings,
    *,
    out: Path,
    context: Context,
) -> Adapter:
    """Take part in a training (see `train`): all processes of `group` call this, each for itself.

    Only the first one writes; others get an artefact that has not been read.
    """
    from components.model.adapter import save_adapter
    from components.model.pruning import save_pruning
    from components.training.checkpoint import load_checkpoint
    from components.training.guard import need_a_step
    from components.training.initial import initial_adapter
    from components.training.keeper import Keeper, heeding_sigterm
    from components.training.resume import fingerprint, restore

    folder = context.scratch / "train"
    trainer = prepare(base, tokens, settings, context)
    mark = fingerprint(settings, trainer.plan, base, tokens, *initial_adapter(settings, context))
    group.take_in(trainer, mark)
    trainer.save = keeper = Keeper(folder / mark[:16], mark)
    last = partial(load_checkpoint, keeper.folder, mark, context.events.note)
    if settings.resume_from_checkpoint and (state := group.from_first(last)):
        restore(trainer, state)
        context.events.note(f"resuming after step {trainer.progress.step}")
    with heeding_sigterm(keeper.asked):
        progress = trainer.run()
    need_a_step(progress.step, progress.skipped)
    trainer.settle()
    model = group.finished(trainer, base)
    if not group.first:
        shutil.rmtree(context.scratch)
        group.wait()
        return Adapter(out, {}, {})
    with Adapter.write(out) as draft:
        save_adapter(model, draft.folder / "model", base.facts["title"])
        save_pruning(settings.pruning, draft.folder / "model")
        write_curve(draft.folder / "curve.csv", progress)
        draft.facts = facts(trainer, base)
    shutil.rmtree(folder, ignore_errors=True)
    group.wait()
    return Adapter.open(out)


def prepare(
    base: BaseModelFolder,
    tokens: Tokens,
    settings: TrainingSettings,
    context: Context,
    load: "Callable[..., Any] | None" = None,
) -> "Trainer":
    """Return a trainer at step 0 with everything chosen for this machine and this kind of model.

    `load` takes the place of what loads the base where the model is only looked at.
    """
    from components.training.initial import begin
    from components.training.kinds import TRAINERS

    trainer = TRAINERS[task_type_of(base)](base, tokens, settings, context, load)
    if load is None:
        begin(trainer, settings, context)
    return trainer


def prepare_decoder(
    base: BaseModelFolder,
    tokens: Tokens,
    settings: TrainingSettings,
    context: Context,
    load: "Callable[..., Any] | None" = None,
) -> "Trainer":
    """Return a trainer for a decoder, at step 0: see `prepare`."""
    import torch

    from components.model.adapter import attach_adapter
    from components.model.base import load_base
    from components.model.device import fast_dtype, keep_few_kernels, pick_device
    from components.training.loop import Trainer
    from components.training.loss import loss_of
    from components.training.objectives import pursue
    from components.training.precision import kept_in, multiplied_in, precision
    from components.training.rows import plan_epoch, read_rows

    torch.manual_seed(settings.seed)
    keep_few_kernels()
    device = pick_device()
    dtype = precision(settings, fast_dtype(device))
    kept = kept_in(settings, dtype)
    model = (load or load_base)(base.model, dtype=kept, device=device, quantized=settings)
    adapted = attach_adapter(model, settings)
    rows = trained_rows(read_rows(tokens.split("train")))
    flat = lies_flat(settings, model, device, max(rows.lengths))
    speed_up(adapted, model, settings, flat=flat)
    validation = read_rows(tokens.split("validation"), settings.max_eval_samples)
    size = settings.per_device_train_batch_size
    trainer = Trainer(
        model=adapted,
        loss=partial(on_base, multiplied_in(loss_of(settings, model), settings, dtype)),
        collate=choose_collate(settings, model, device, max(rows.lengths), flat=flat),
        rows=rows,
        validation=trained_rows(validation) if validation else [],
        plan=plan_steps(settings, rows.lengths),
        validation_plan=plan_epoch(validation.lengths, size, 0, 0),
        settings=settings,
        events=context.events,
        save=lambda _: None,
    )
    return pursue(trainer, base, tokens, context)


def choose_collate(
    settings: TrainingSettings, model: Any, device: "torch.device", longest: int, *, flat: bool
) -> "Callable[[Sequence[Row]], Inputs]":
    """Return how rows become a batch: on CPU, behind their shared prefix was measured fastest."""
    from components.training.collate import pack, pad, share_prefix
    from components.training.on_gpu import collate_for_gpu

    if settings.fast and device.type == "cuda":
        return collate_for_gpu(settings, model, device, longest)
    if settings.packing:
        return partial(pack, device=device)
    if flat:
        return partial(share_prefix, device=device, dtype=model.dtype)
    return partial(pad, device=device)


def lies_flat(settings: TrainingSettings, model: Any, device: "torch.device", longest: int) -> bool:
    """Say whether batches are laid out flat, with the attention made for that."""
    from components.model.shared_prefix import attends_plainly

    config = model.config.get_text_config()
    wanted = settings.fast and not (settings.packing or settings.torch_compile)
    # Dropout on attention (GPT-2's default) is drawn by transformers' own attention only.
    drops = any(getattr(config, name, 0) for name in ("attention_dropout", "attn_pdrop"))
    return wanted and device.type == "cpu" and not drops and attends_plainly(model, longest)


def on_base(loss: Any, adapted: Any, inputs: Any) -> "torch.Tensor":
    """Call `loss` with the transformers model: its layers carry the adapter."""
    from components.model.full import bare

    result: torch.Tensor = loss(bare(adapted), inputs)
    return result


def speed_up(adapted: Any, model: Any, settings: TrainingSettings, *, flat: bool) -> None:
    """Choose the paths that were measured fastest on this kind of device."""
    import torch

    from components.model.shared_prefix import use_shared_prefix_attention
    from components.training.compiled import compile_decoder
    from components.training.fused_attention import fuse_attention
    from components.training.fused_layers import fuse_layers
    from components.training.fused_lora import fuse_lora
    from components.training.fused_quantized import fuse_quantized

    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
        # It makes the embeddings ask for gradients, which only the reentrant kind needs: with
        # adapters on the top blocks alone, the backward pass would go through all blocks.
        model.disable_input_require_grads()
    if not settings.fast:
        return
    torch.set_float32_matmul_precision("medium" if model.device.type == "cpu" else "high")
    if settings.torch_compile:
        compile_decoder(model, model.device)
        return
    # On a pruned base each layer has a mask of its own: `masked_lora` takes their place.
    stacks = {} if settings.pruning is not None else fuse_lora(adapted)
    if settings.pruning is None:
        fuse_quantized(adapted, model.dtype)
    fuse_layers(model, stacks)
    if flat:
        use_shared_prefix_attention(model)
        fuse_attention(model, stacks)


def plan_steps(settings: TrainingSettings, lengths: list[int]) -> list[list[tuple[int, ...]]]:
    """Return, for every optimiser step, its micro-batches of row indices, of all processes."""
    import math

    batches: list[tuple[int, ...]] = []
    for epoch in range(math.ceil(settings.num_train_epochs)):
        one = batches_of(settings, lengths, epoch)
        left = settings.num_train_epochs - epoch
        batches += one if left >= 1 else one[: math.ceil(left * len(one))]
    step = settings.gradient_accumulation_steps * settings.num_processes
    steps = [batches[i : i + step] for i in range(0, len(batches), step)]
    return steps if settings.max_steps < 0 else steps[: settings.max_steps]


def batches_of(settings: TrainingSettings, lengths: list[int], epoch: int) -> list[tuple[int, ...]]:
    """Return the batches of one epoch: packed, by their tokens, or by their rows."""
    from components.training.rows import plan_epoch, plan_packed, plan_token_budget

    seed = settings.seed
    if settings.packing:
        return plan_packed(lengths, settings.packing_length, seed, epoch)
    if settings.max_tokens_per_batch:
        return plan_token_budget(lengths, settings.max_tokens_per_batch, seed, epoch)
    return plan_epoch(lengths, settings.per_device_train_batch_size, seed, epoch)


def trained_rows(rows: "Rows") -> "Rows":
    """Return `rows`; raise `DataError` if any of them would teach nothing."""
    empty = (rows.trained == 0).nonzero()[0]
    if len(empty) or not len(rows):
        raise DataError(
            f"{len(empty)} of {len(rows)} rows have no trained token (first: row {empty[:1]})",
            fix="look at the tokenization section of the recipe and at the data",
        )
    return rows


def write_curve(file: Path, progress: "Progress") -> None:
    """Write the training curve: no clock in it, so the same run gives the same bytes."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        told = sorted({name for point in progress.curve for name in point} - set(CURVE))
        writer = csv.DictWriter(stream, [*CURVE, *told], lineterminator="\n")
        writer.writeheader()
        writer.writerows(progress.curve)


def facts(trainer: "Trainer", base: BaseModelFolder) -> dict[str, Any]:
    """Return what is worth knowing of the run, free of clocks."""
    from components.model.full import bare

    progress = trainer.progress
    losses = [point["loss"] for point in progress.curve if "loss" in point]
    return {
        "base": base.facts["title"],
        "steps": progress.step,
        "planned_steps": len(trainer.plan),
        "stopped_early": progress.stopped_early,
        "best_step": progress.best_step,
        "averaged_steps": progress.averaged,
        "skipped_steps": progress.skipped,
        "out_of_memory": progress.out_of_memory,
        "max_tokens_per_micro_batch": progress.most_tokens,
        "best_eval_loss": progress.best_loss if progress.best is not None else None,
        "first_loss": losses[0],
        "final_loss": losses[-1],
        "tokens": int(sum(point["tokens"] for point in progress.curve)),
        "trainable_parameters": sum(p.numel() for p in trainer.trainable.values()),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "dtype": str(bare(trainer.model).dtype).removeprefix("torch."),
        "device": trainer.model.device.type,
        **{name: value for tell in trainer.about for name, value in tell().items()},
    }
