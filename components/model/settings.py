"""How a base is loaded and what is put on it, in the spelling of peft and bitsandbytes."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from components.contracts.settings import Settings

InitLoraWeights = (
    Literal[True, "gaussian", "pissa"] | Annotated[str, Field(pattern=r"^pissa_niter_[1-9]\d*$")]
)
Names = Annotated[list[str], Field(min_length=1)]


class QuantizedLoading(Settings):
    """4-bit or 8-bit loading of the frozen base through bitsandbytes.

    `bnb_4bit_compute_dtype: null` multiplies in the precision that the rest of the model has.
    """

    load_in_4bit: bool = False
    load_in_8bit: bool = False
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    bnb_4bit_use_double_quant: bool = True
    bnb_4bit_compute_dtype: Literal["float32", "bfloat16", "float16"] | None = None
    llm_int8_threshold: NonNegativeFloat = 6.0

    @property
    def wanted(self) -> bool:
        return self.load_in_4bit or self.load_in_8bit

    @model_validator(mode="after")
    def _one_width(self) -> "QuantizedLoading":
        if self.load_in_4bit and self.load_in_8bit:
            raise ValueError("load_in_4bit and load_in_8bit exclude each other")
        return self


class LoraSettings(QuantizedLoading):
    """The adapter, or none: `finetuning_type: full` trains every weight (LLaMA-Factory's name).

    `init_lora_weights` as in peft: `true` (B is zero), `gaussian`, `pissa` or `pissa_niter_N` (the
    principal components of each weight, by a whole SVD or by N subspace iterations).
    `lora_top_layers` adapts the last so many blocks only (`null`: all): gradients stop below them,
    which saves about a third of the time and of the memory at half the blocks.
    `adapter_name_or_path` (LLaMA-Factory's name) is a peft folder below data/initial/RECIPE/ whose
    weights training goes on from; it must have the shape that the other settings ask for.
    """

    finetuning_type: Literal["lora", "full"] = "lora"
    lora_r: PositiveInt = 16
    lora_alpha: float = Field(default=32, gt=0)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    lora_target_modules: Literal["all-linear"] | Names = "all-linear"
    lora_top_layers: PositiveInt | None = None
    use_rslora: bool = False
    use_dora: bool = False
    init_lora_weights: InitLoraWeights = True
    adapter_name_or_path: str | None = None

    @property
    def full(self) -> bool:
        """Whether every weight is trained, without an adapter."""
        return self.finetuning_type == "full"

    @property
    def pissa(self) -> bool:
        """Whether the adapter starts from the principal components of the base."""
        return str(self.init_lora_weights).startswith("pissa")

    @model_validator(mode="after")
    def _fits_together(self) -> "LoraSettings":
        if self.full and self.wanted:
            raise ValueError(
                "finetuning_type: full trains every weight, but those of a 4/8-bit base are frozen:"
                " use finetuning_type: lora, or set load_in_4bit and load_in_8bit to false"
            )
        if self.full and (self.lora_top_layers or self.use_dora or self.pissa):
            raise ValueError(
                "finetuning_type: full has no adapter: leave out lora_top_layers, use_dora and "
                "init_lora_weights, or use finetuning_type: lora"
            )
        if self.adapter_name_or_path is not None and (self.full or self.pissa):
            raise ValueError(
                "adapter_name_or_path goes on from a plain adapter: it cannot go with "
                "finetuning_type: full or with init_lora_weights: pissa"
            )
        if self.pissa and self.wanted:
            raise ValueError(
                f"init_lora_weights: {self.init_lora_weights} changes the base's weights, which "
                "load_in_4bit and load_in_8bit round: the adapter would not fit the original base"
            )
        return self
