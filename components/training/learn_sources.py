"""A trainer that teaches an encoder-decoder to write a target to each source."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from components.contracts.errors import RecipeError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.tables import IGNORED
from components.contracts.task_types import SEQ_2_SEQ_LM
from components.training.collate import Inputs, move
from components.training.rows import Row
from components.training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch

    from components.training.loop import Trainer

DECODERS_ONLY: dict[str, Callable[[TrainingSettings], bool]] = {
    "packing": lambda s: s.packing,
    "torch_compile": lambda s: s.torch_compile,
    "load_in_4bit": lambda s: s.load_in_4bit,
    "load_in_8bit": lambda s: s.load_in_8bit,
    "lora_top_layers": lambda s: s.lora_top_layers is not None,
    "init_lora_weights: pissa": lambda s: s.pissa,
    "fsdp": lambda s: s.fsdp,
    "loss_type": lambda s: s.of_pairs,
    "distillation": lambda s: s.distillation is not None,
    "pruning": lambda s: s.pruning is not None,
}
"""Settings that an encoder-decoder has no use for, or that nobody has proved with one."""


def prepare_seq2seq(
    base: BaseModelFolder,
    tokens: Tokens,
    settings: TrainingSettings,
    context: Context,
    load: Callable[..., Any] | None = None,
) -> "Trainer":
    """Return a trainer at step 0: an adapter on both stacks, or all weights.

    A row is a source (`IGNORED` in its labels) and the target behind it. `load` takes the place of
    what loads the base where the model is only looked at.

    Raises:
        DataError: there are no rows, or one has no target.
        RecipeError: a setting is for decoders only.
    """
    import torch

    from components.model.adapter import attach_adapter
    from components.model.device import fast_dtype, keep_few_kernels, pick_device
    from components.model.seq2seq import load_seq2seq, padding_id
    from components.training.loop import Trainer
    from components.training.precision import kept_in, multiplied_in, precision
    from components.training.rows import plan_epoch, read_rows
    from components.training.train import on_base, plan_steps, trained_rows

    refuse(settings)
    torch.manual_seed(settings.seed)
    keep_few_kernels()
    device = pick_device()
    dtype = precision(settings, fast_dtype(device))
    model = (load or load_seq2seq)(base.model, dtype=kept_in(settings, dtype), device=device)
    adapted = attach_adapter(model, settings, SEQ_2_SEQ_LM)
    speed_up(adapted, model, settings)
    rows = trained_rows(read_rows(tokens.split("train")))
    validation = read_rows(tokens.split("validation"), settings.max_eval_samples)
    size = settings.per_device_train_batch_size
    chosen = partial(target_loss, chunked=settings.chunked_nll) if settings.fast else reference_loss
    loss = multiplied_in(chosen, settings, dtype)
    return Trainer(
        model=adapted,
        loss=partial(on_base, loss),
        collate=partial(pad_sources, pad=padding_id(model), device=device),
        rows=rows,
        validation=trained_rows(validation) if validation else [],
        plan=plan_steps(settings, rows.lengths),
        validation_plan=plan_epoch(validation.lengths, size, 0, 0),
        settings=settings,
        events=context.events,
        save=lambda _: None,
        about=[lambda: {"task_type": SEQ_2_SEQ_LM}],
    )


def refuse(settings: TrainingSettings) -> None:
    """Raise `RecipeError` naming every setting that is for decoders only."""
    found = [name for name, asked in DECODERS_ONLY.items() if asked(settings)]
    if found:
        raise RecipeError(
            f"training.{', training.'.join(found)}: not for model.task_type {SEQ_2_SEQ_LM}",
            fix="leave it out, or train a decoder (model.task_type: CAUSAL_LM)",
        )


def speed_up(adapted: Any, model: Any, settings: TrainingSettings) -> None:
    """Choose what saves memory, and on fast paths the products that save time."""
    import torch

    from components.training.fused_lora import fuse_lora

    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
        model.disable_input_require_grads()
    if settings.fast:
        torch.set_float32_matmul_precision("medium" if model.device.type == "cpu" else "high")
        fuse_lora(adapted)


def pad_sources(rows: Sequence[Row], pad: int, device: "torch.device") -> Inputs:
    """Stack sources [batch, longest source] and targets [batch, longest target], padded right.

    `labels` are the targets, `IGNORED` behind their ends; what the decoder reads is made of them by
    the model's own rule.
    """
    starts = [int((row.labels != IGNORED).argmax()) for row in rows]
    targets = [row.labels[start:] for row, start in zip(rows, starts, strict=True)]
    ids = np.full((len(rows), max(starts)), pad, np.int64)
    mask = np.zeros(ids.shape, np.int64)
    labels = np.full((len(rows), max(map(len, targets))), IGNORED, np.int64)
    for place, (row, start, target) in enumerate(zip(rows, starts, targets, strict=True)):
        ids[place, :start] = row.input_ids[:start]
        mask[place, :start] = 1
        labels[place, : len(target)] = target
    arguments = {"input_ids": move(ids, device), "attention_mask": move(mask, device)}
    return Inputs(arguments, move(labels, device), int(mask.sum()) + sum(map(len, targets)))


def target_loss(model: Any, inputs: Inputs, *, chunked: bool = True) -> "torch.Tensor":
    """Return the summed negative log-likelihood in nats of the targets.

    The head runs on tokens of targets only, `chunked` on few positions at a time: the vocabulary of
    an mT5 is a quarter of a million wide.
    """
    from components.model.seq2seq import head_of
    from components.training.chunked_loss import CHUNK, token_loss

    read = model.get_encoder()(**inputs.arguments).last_hidden_state
    hidden = model.get_decoder()(
        input_ids=model.prepare_decoder_input_ids_from_labels(inputs.labels),
        encoder_hidden_states=read,
        encoder_attention_mask=inputs.arguments["attention_mask"],
        use_cache=False,
    ).last_hidden_state
    trained = inputs.labels != IGNORED
    weights = [p for p in model.get_output_embeddings().parameters() if p.requires_grad]
    hidden, targets = hidden[trained], inputs.labels[trained]
    rows = max(1, CHUNK // model.config.vocab_size) if chunked else len(hidden)
    return token_loss(head_of(model), hidden, targets, rows=rows, trained=weights)


def reference_loss(model: Any, inputs: Inputs) -> "torch.Tensor":
    """Return the same sum from the model's own forward and all logits."""
    import torch

    ids = model.prepare_decoder_input_ids_from_labels(inputs.labels)
    logits = model(**inputs.arguments, decoder_input_ids=ids, use_cache=False).logits.float()
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), inputs.labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
