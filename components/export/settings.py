"""Settings of the export step."""

from typing import Literal, Self

from pydantic import Field, model_validator

from components.contracts.settings import Settings

Variant = Literal["fp32", "fp16", "bf16", "int8", "int4"]
MatMuls = Literal["last_matmul", "mixed_layers"]


class WeightQuantization(Settings):
    """How the weights of one variant are rounded, in the words of onnxruntime-genai's builder.

    Only weights are stored rounded; `accuracy_level` 4 also rounds activations to int8 on the way
    through a product, 1 keeps them in fp32. `matmul_mixed_precision` gives groups of products
    another type: `last_matmul` is the head (and with it tied embeddings), `mixed_layers` the first
    and last eighth of the layers and every third between.
    """

    algo_config: Literal["default", "rtn", "k_quant"]
    block_size: Literal[16, 32, 64, 128, 256] = 32
    is_symmetric: bool = False
    accuracy_level: Literal[1, 4] = 4
    matmul_mixed_precision: dict[MatMuls, Literal["int4", "int8"]] = Field(default_factory=dict)


# Blocks of 64 weights instead of 32: a prompt is read 15 % faster, the file is 4 % smaller, and the
# perplexity is the same within its noise.
INT8 = WeightQuantization(algo_config="default", block_size=64)
# Perplexity of a tuned SmolLM2-135M against fp32: blocks of 32 weights +19 %, of 16 +10 %, for
# 117 and 137 MB. Without mixed precision three times the rise; k_quant is no better and takes three
# times as long to build.
INT4 = WeightQuantization(
    algo_config="rtn",
    block_size=16,
    matmul_mixed_precision={"last_matmul": "int8", "mixed_layers": "int8"},
)


class ExportSettings(Settings):
    """Which ONNX files to write, for which ONNX Runtime execution provider."""

    variants: tuple[Variant, ...] = Field(default=("fp32", "int8", "int4"), min_length=1)
    execution_provider: Literal["cpu", "cuda"] = "cpu"
    int8: WeightQuantization = INT8
    int4: WeightQuantization = INT4

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("variants must not repeat")
        halves = sorted({"fp16", "bf16"} & set(self.variants))
        if halves and self.execution_provider == "cpu":
            raise ValueError(f"{' and '.join(halves)} need execution_provider: cuda")
        for name in ("int8", "int4"):
            quantization: WeightQuantization = getattr(self, name)
            # With tied embeddings the builder then writes a graph that does not load.
            if quantization.algo_config == "default" and (
                quantization.matmul_mixed_precision
                or (name == "int4" and not quantization.is_symmetric)
            ):
                raise ValueError(
                    f"{name}: algo_config default goes only with symmetric weights of one type; "
                    "use rtn or k_quant"
                )
        return self
