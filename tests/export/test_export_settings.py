from typing import Any

import pytest
from pydantic import ValidationError

from components.export.builder import quantization_options
from components.export.settings import ExportSettings


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"variants": ["fp32", "fp16"]}, "fp16 need execution_provider: cuda"),
        ({"variants": ["fp32", "fp32"]}, "must not repeat"),
        ({"variants": []}, "at least 1"),
        ({"variants": ["int2"]}, "'int4'"),
        ({"int4": {"algo_config": "default"}}, "use rtn or k_quant"),
        ({"int8": {"algo_config": "rtn", "bits": 8}}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ExportSettings(**settings)


def test_gpu_variants_go_with_cuda() -> None:
    settings = ExportSettings(variants=("bf16", "int4"), execution_provider="cuda")
    assert settings.variants == ("bf16", "int4")


def test_options_are_those_of_the_builder() -> None:
    settings = ExportSettings()
    assert quantization_options("fp32", settings) == []
    assert quantization_options("int8", settings) == [
        "algo_config=rtn",
        "block_size=64",
        "is_symmetric=False",
        "accuracy_level=4",
    ]
    assert quantization_options("int4", settings)[-1] == (
        "matmul_mixed_precision=last_matmul:int8,mixed_layers:int8"
    )


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"int8": {"algo_config": "gptq"}}, "gptq is for int4"),
        ({"int4": {"algo_config": "gptq", "is_symmetric": True}}, "leave is_symmetric false"),
        (
            {"int4": {"algo_config": "rtn", "matmul_mixed_precision": {"down_proj": "int8"}}},
            "down_proj goes only with algo_config gptq or dynamic",
        ),
        ({"int4": {"algo_config": "dynamic"}}, "dynamic is for int8"),
        (
            {
                "int8": {
                    "algo_config": "dynamic",
                    "matmul_mixed_precision": {"down_proj": "int4"},
                }
            },
            "write down_proj: int8",
        ),
        ({"int8": {"algo_config": "rtn", "smoothing": 1.0}}, "less than 1"),
    ],
)
def test_what_is_only_for_calibrated_weights_is_told(
    settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        ExportSettings(**settings)


def test_weights_to_be_calibrated_are_built_with_eight_bits() -> None:
    settings = ExportSettings.model_validate(
        {"int4": {"algo_config": "gptq", "matmul_mixed_precision": {"o_proj": "int8"}}}
    )
    assert quantization_options("int4", settings) == [
        "algo_config=default",
        "block_size=32",
        "is_symmetric=False",
        "accuracy_level=4",
    ]
    assert settings.int4.facts()["calibration"]["seqlen"] == 512
    assert "calibration" not in settings.int8.facts()
