"""How a base is loaded and what is put on it, in the spelling of peft and bitsandbytes."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from components.contracts.settings import Settings


class QuantizedLoading(Settings):
    """4-bit or 8-bit loading of the frozen base through bitsandbytes."""

    load_in_4bit: bool = False
    load_in_8bit: bool = False
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    bnb_4bit_use_double_quant: bool = True

    @property
    def wanted(self) -> bool:
        return self.load_in_4bit or self.load_in_8bit

    @model_validator(mode="after")
    def _one_width(self) -> "QuantizedLoading":
        if self.load_in_4bit and self.load_in_8bit:
            raise ValueError("load_in_4bit and load_in_8bit exclude each other")
        return self


class LoraSettings(QuantizedLoading):
    """The adapter.

    `lora_top_layers` adapts the last so many blocks only (`null`: all): gradients stop below them,
    which saves about a third of the time and of the memory at half the blocks.
    """

    lora_r: PositiveInt = 16
    lora_alpha: float = Field(default=32, gt=0)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    lora_target_modules: Literal["all-linear"] | list[str] = "all-linear"
    lora_top_layers: PositiveInt | None = None
    use_rslora: bool = False
    use_dora: bool = False
