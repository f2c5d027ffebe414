"""Settings of the export step."""

from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from components.contracts.settings import Settings

Variant = Literal["fp32", "fp16", "bf16", "int8", "int4"]
MatMuls = Literal["last_matmul", "mixed_layers", "edge_layers", "qkv_proj", "o_proj", "down_proj"]
BUILDERS = ("last_matmul", "mixed_layers")
"""The groups that onnxruntime-genai's builder knows."""

GPTQ, DYNAMIC = "gptq", "dynamic"


class Calibration(Settings):
    """What weights are calibrated on, and how, in the words of GPTQ's packages.

    `nsamples` rows of the recipe's training split (drawn with `seed`, each cut to `seqlen` tokens)
    go through the model; half of them without the turns that all rows begin with. `damp_percent`
    is added to the diagonal of the inputs' second moments, as a share of its mean; `desc_act`
    rounds the inputs that matter most first. `sweeps` is how often scales are fitted and weights
    looked at again after GPTQ's one pass.
    """

    nsamples: PositiveInt = 128
    seqlen: PositiveInt = 512
    damp_percent: PositiveFloat = 0.03
    desc_act: bool = True
    sweeps: NonNegativeInt = 1
    seed: NonNegativeInt = 0


class WeightQuantization(Settings):
    """How the weights of one variant are rounded, in the words of onnxruntime-genai's builder.

    Only weights are stored rounded; `accuracy_level` 4 also rounds activations to int8 on the way
    through a product, 1 keeps them in fp32. `matmul_mixed_precision` gives groups of products
    another type: `last_matmul` is the head (and with it tied embeddings), `mixed_layers` the value
    and down projections of the first and last eighth of the layers and of every third between.

    `gptq` is calibrated (see `Calibration`) and knows more groups: `edge_layers` (the first and the
    last layer), `qkv_proj`, `o_proj` and `down_proj`. `dynamic` knows these too: products of them
    have only their weights rounded, all others are computed in integers.

    `smoothing` (0 … 1) moves outliers of activations into the weights behind a norm before
    rounding: 0.5 shares them evenly, more puts more into the weights (the alpha of SmoothQuant).
    """

    algo_config: Literal["default", "rtn", "k_quant", "gptq", "dynamic"]
    block_size: Literal[16, 32, 64, 128, 256] = 32
    is_symmetric: bool = False
    accuracy_level: Literal[1, 4] = 4
    matmul_mixed_precision: dict[MatMuls, Literal["int4", "int8"]] = Field(default_factory=dict)
    smoothing: float | None = Field(default=None, gt=0, lt=1)
    calibration: Calibration = Calibration()

    @property
    def calibrated(self) -> bool:
        return self.algo_config == GPTQ

    @property
    def dynamic(self) -> bool:
        return self.algo_config == DYNAMIC

    def before_calibration(self) -> Self:
        """Return the settings of the file with eight bits that is calibrated then."""
        return self.model_copy(update={"algo_config": "default", "matmul_mixed_precision": {}})

    def facts(self) -> dict[str, Any]:
        """Return the settings as JSON values, as far as they matter."""
        unused = {"calibration": self.calibrated, "smoothing": self.smoothing is not None}
        return self.model_dump(mode="json", exclude={name for name in unused if not unused[name]})


# Blocks of 64 weights with zero points: a prompt is read 15 % faster than in blocks of 32 and the
# file is 7 % smaller; perplexity +0.25 % of fp32 on 700 tweets, +0.54 % without zero points.
INT8 = WeightQuantization(algo_config="rtn", block_size=64)
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
            _check_algorithm(name, quantization)
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


def _check_algorithm(name: str, quantization: WeightQuantization) -> None:
    """Raise `ValueError` for what an algorithm cannot do, or only another can."""
    if quantization.calibrated:
        if name != "int4":
            raise ValueError(
                f"{name}: algo_config gptq is for int4; eight bits lose nothing by rtn"
            )
        if quantization.is_symmetric:
            raise ValueError(f"{name}: algo_config gptq has zero points: leave is_symmetric false")
        return
    if quantization.dynamic:
        _check_dynamic(name, quantization)
        return
    unknown = sorted(set(quantization.matmul_mixed_precision) - set(BUILDERS))
    if unknown:
        raise ValueError(
            f"{name}: matmul_mixed_precision {unknown[0]} goes only with algo_config gptq or "
            "dynamic; "
            f"use {' or '.join(BUILDERS)}"
        )


def _check_dynamic(name: str, quantization: WeightQuantization) -> None:
    """Raise `ValueError` for what products in integers cannot be."""
    if name != "int8":
        raise ValueError(f"{name}: algo_config dynamic is for int8: its products have eight bits")
    few = sorted(g for g, kind in quantization.matmul_mixed_precision.items() if kind != "int8")
    if few:
        raise ValueError(
            f"{name}: with algo_config dynamic, matmul_mixed_precision names the products of which "
            f"only weights are rounded: write {few[0]}: int8"
        )
