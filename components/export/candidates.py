"""Ways to round a model that are worth trying, the smallest file first."""

from collections.abc import Mapping
from typing import Any, Literal

from components.export.settings import ExportSettings

HEAD = {"last_matmul": "int8"}

Kind = Literal["int4", "int8"]

CANDIDATES: dict[str, tuple[Kind, dict[str, Any]]] = {
    "gptq-g64": ("int4", {"algo_config": "gptq", "block_size": 64}),
    "gptq-g32": ("int4", {"algo_config": "gptq", "block_size": 32}),
    "gptq-g64-head8": (
        "int4",
        {"algo_config": "gptq", "block_size": 64, "matmul_mixed_precision": HEAD},
    ),
    "gptq-g32-head8": (
        "int4",
        {"algo_config": "gptq", "block_size": 32, "matmul_mixed_precision": HEAD},
    ),
    "gptq-g32-head8-edges8": (
        "int4",
        {
            "algo_config": "gptq",
            "block_size": 32,
            "matmul_mixed_precision": HEAD | {"edge_layers": "int8"},
        },
    ),
    "gptq-g32-head8-mixed8": (
        "int4",
        {
            "algo_config": "gptq",
            "block_size": 32,
            "matmul_mixed_precision": HEAD | {"mixed_layers": "int8"},
        },
    ),
    "gptq-g32-head8-down8": (
        "int4",
        {
            "algo_config": "gptq",
            "block_size": 32,
            "matmul_mixed_precision": HEAD | {"down_proj": "int8"},
        },
    ),
    "rtn-g32-head8-mixed8": (
        "int4",
        {
            "algo_config": "rtn",
            "block_size": 32,
            "matmul_mixed_precision": HEAD | {"mixed_layers": "int8"},
        },
    ),
    "gptq-g16-head8-mixed8": (
        "int4",
        {
            "algo_config": "gptq",
            "block_size": 16,
            "matmul_mixed_precision": HEAD | {"mixed_layers": "int8"},
        },
    ),
    "int8-g128": ("int8", {"algo_config": "default", "block_size": 128}),
    "int8-g64": ("int8", {"algo_config": "default", "block_size": 64}),
    "int8-g64-smooth": (
        "int8",
        {"algo_config": "rtn", "block_size": 64, "smoothing": 0.5},
    ),
    "int8-g32": ("int8", {"algo_config": "default", "block_size": 32}),
}
"""By name: the variant whose settings they are, and these."""


def settings_of(name: str, asked: ExportSettings) -> ExportSettings:
    """Return the recipe's export settings `asked` with a candidate's one variant in them."""
    kind, quantization = CANDIDATES[name]
    told = asked.model_dump(exclude={"variants", "int4", "int8"})
    return ExportSettings.model_validate(
        {**told, "variants": [kind], kind: with_calibration(quantization, asked)}
    )


def with_calibration(quantization: Mapping[str, Any], asked: ExportSettings) -> dict[str, Any]:
    """Return a candidate's settings, calibrated as the recipe says."""
    if quantization["algo_config"] != "gptq":
        return dict(quantization)
    return {**quantization, "calibration": asked.int4.calibration.model_dump()}
