"""Training settings, in the spelling of transformers, TRL and peft."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from components.model.settings import LoraSettings
from components.training.objective_settings import ObjectiveSettings

Share = Annotated[float, Field(ge=0, le=1)]


class TrainingSettings(LoraSettings, ObjectiveSettings):
    """How an adapter is trained.

    `warmup_steps` below 1 is a share of all steps, as in transformers. `min_lr_ratio` is where the
    schedule ends, as a share of `learning_rate`. `bf16: null` takes bf16 where the device is fast
    at it. `fast: false` runs the plain reference path (peft's forward, all logits, SDPA).
    `max_tokens_per_batch` makes batches of like length by their tokens, padding counted, in place
    of `per_device_train_batch_size` rows. `max_steps` of -1 means whole epochs. `average_last` is
    the share of steps, at the end, whose weights are averaged into the adapter that is kept (0:
    none; 0.25 is a good first choice). `chunked_nll` never holds more logits than 134 MB at a time.
    `torch_compile` compiles the decoder in place of the hand-written fast paths.

    A checkpoint is written every `save_steps`, and when `save_minutes` have passed since the last;
    the last `save_total_limit` are kept. `on_nonfinite: skip` leaves out a step whose loss or
    gradient is not finite, up to `max_skipped_steps` times. `auto_find_batch_size` halves the
    micro-batches of a step that ran out of memory and takes it again; off, it stops.

    Of a masked-language model `mlm_probability` of the tokens are asked for, others in every epoch:
    `mask_replace_prob` of these behind the mask token, `random_replace_prob` behind a random one.

    `num_processes` train together, each on micro-batches of its own: a step has as many more rows.
    `fsdp` cuts up the weights of full fine-tuning between them (docs/gpu.md).
    """

    seed: NonNegativeInt = 0
    learning_rate: PositiveFloat = 2e-4
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = "linear"
    min_lr_ratio: Share = 0.0
    warmup_steps: NonNegativeFloat = 0.03
    num_train_epochs: PositiveFloat = 1.0
    max_steps: int = Field(default=-1, ge=-1)
    per_device_train_batch_size: PositiveInt = 16
    max_tokens_per_batch: PositiveInt | None = None
    gradient_accumulation_steps: PositiveInt = 1
    average_last: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_grad_norm: PositiveFloat = 1.0
    weight_decay: NonNegativeFloat = 0.0
    adam_beta1: Share = 0.9
    adam_beta2: Share = 0.999
    adam_epsilon: PositiveFloat = 1e-8

    mlm_probability: Annotated[float, Field(gt=0, lt=1)] = 0.15
    mask_replace_prob: Share = 0.8
    random_replace_prob: Share = 0.1

    packing: bool = False
    packing_length: PositiveInt = 2048
    gradient_checkpointing: bool = False
    torch_compile: bool = False
    chunked_nll: bool = True
    bf16: bool | None = None
    fast: bool = True

    eval_steps: PositiveInt | None = None
    max_eval_samples: PositiveInt | None = None
    early_stopping_patience: PositiveInt | None = None
    early_stopping_threshold: NonNegativeFloat = 0.0
    save_steps: PositiveInt = 100
    save_minutes: PositiveFloat | None = None
    save_total_limit: PositiveInt = 2
    on_nonfinite: Literal["stop", "skip"] = "stop"
    max_skipped_steps: PositiveInt = 10
    auto_find_batch_size: bool = True
    resume_from_checkpoint: bool = True

    num_processes: PositiveInt = 1
    fsdp: bool = False

    @model_validator(mode="after")
    def _compiled_is_fast(self) -> "TrainingSettings":
        if self.torch_compile and not self.fast:
            raise ValueError("torch_compile is a fast path: it cannot go with fast: false")
        return self

    @model_validator(mode="after")
    def _shares_of_the_hidden(self) -> "TrainingSettings":
        if self.mask_replace_prob + self.random_replace_prob > 1:
            raise ValueError("mask_replace_prob and random_replace_prob are together more than 1")
        return self

    @model_validator(mode="after")
    def _sharded_is_full(self) -> "TrainingSettings":
        if not self.fsdp:
            return self
        if not self.full or self.num_processes == 1:
            raise ValueError(
                "fsdp cuts up weights that are trained: set finetuning_type: full and "
                "num_processes above 1, or fsdp: false (with an adapter each process keeps the "
                "whole base: load_in_4bit makes it small)"
            )
        if self.of_pairs or self.distillation is not None or self.torch_compile:
            raise ValueError(
                "fsdp goes with loss_type: nll alone, without distillation and torch_compile"
            )
        return self
