"""A base in 4 or 8 bits: every adapter tensor learns, before and after an eval forward."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from components.contracts.errors import ModelError
from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Dataset, Tokens
from components.evaluation.evaluate import evaluate
from components.evaluation.settings import EvaluationSettings
from components.export.export import merge
from components.model.base import load_base
from components.model.full import bare
from components.model.merge import load_merged
from components.model.quantized import need_compute_dtype
from components.model.settings import QuantizedLoading
from components.training.collate import pad
from components.training.fused_quantized import fuse_quantized
from components.training.settings import TrainingSettings
from components.training.train import prepare, train

CPU = torch.device("cpu")
WAYS: dict[str, dict[str, Any]] = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_use_double_quant": False},
    "nf4 twice": {"load_in_4bit": True},
    "fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    "nf4 in bf16": {"load_in_4bit": True, "bf16": True},
    "bf16 compute": {"load_in_4bit": True, "bnb_4bit_compute_dtype": "bfloat16"},
    "nf4 plain": {"load_in_4bit": True, "fast": False},
    "nf4 dora": {"load_in_4bit": True, "use_dora": True},
    "nf4 checkpointed": {"load_in_4bit": True, "gradient_checkpointing": True},
    "nf4 packed": {"load_in_4bit": True, "packing": True, "packing_length": 90},
    "as in recipes/qlora-gpu": {
        "load_in_4bit": True,
        "bf16": True,
        "packing": True,
        "packing_length": 90,
        "gradient_checkpointing": True,
    },
    "int8": {"load_in_8bit": True},
    "int8 in bf16": {"load_in_8bit": True, "bf16": True},
}


@pytest.fixture(autouse=True)
def bitsandbytes() -> Any:
    return pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")


def settings_of(way: str, **changes: Any) -> TrainingSettings:
    values = {"learning_rate": 1e-2, "warmup_steps": 2, "bf16": False, "max_steps": 6}
    values |= {"per_device_train_batch_size": 8, "num_train_epochs": 4, "lora_r": 4}
    return TrainingSettings(**{**values, **WAYS[way], **changes})


def gradients(trainer: Any) -> dict[str, torch.Tensor]:
    """Return the gradients of one batch; also those of tensors that peft froze by mistake."""
    inputs = trainer.collate([trainer.rows[i] for i in trainer.plan[0][0]])
    trainer.model.train()
    trainer.loss(trainer.model, inputs).backward()
    weights = [(n, p) for n, p in trainer.model.named_parameters() if "lora_" in n]
    found = {n: p.grad.clone() for n, p in weights if p.grad is not None}
    assert len(weights) in (28, 42)
    assert len(found) == len(weights), "tensors without a gradient"
    trainer.optimizer.zero_grad(set_to_none=True)
    return found


def wake(trainer: Any) -> None:
    """Give B other weights than zero, so that A has gradients too."""
    torch.manual_seed(3)
    for name, parameter in trainer.trainable.items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)


@pytest.mark.parametrize("way", WAYS)
def test_every_adapter_tensor_has_a_gradient_in_every_mode(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, way: str
) -> None:
    trainer = prepare(tiny_base, tiny_tokens, settings_of(way), context)
    wake(trainer)
    first = gradients(trainer)
    for mode in (torch.no_grad(), torch.inference_mode(), torch.enable_grad()):
        with mode:
            trainer.validation_loss()
    after = gradients(trainer)
    assert all(float(grad.abs().sum()) > 0 for grad in first.values())
    for name, grad in after.items():
        torch.testing.assert_close(grad, first[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("way", "fused"),
    [("nf4", 14), ("nf4 twice", 14), ("nf4 in bf16", 14), ("bf16 compute", 0), ("nf4 dora", 0)],
)
def test_fused_layers_have_the_gradients_of_pefts(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, way: str, fused: int
) -> None:
    plain = prepare(tiny_base, tiny_tokens, settings_of(way, fast=False), context)
    fast = prepare(tiny_base, tiny_tokens, settings_of(way, fast=False), context)
    wake(plain)
    wake(fast)
    assert fuse_quantized(fast.model, bare(fast.model).dtype) == fused
    rounded = way == "nf4 in bf16"
    expected, found = gradients(plain), gradients(fast)
    for name, grad in found.items():
        limit = 0.05 * float(expected[name].abs().max()) if rounded else 1e-5
        torch.testing.assert_close(grad, expected[name], rtol=1e-4, atol=limit)
    with fast.model.disable_adapter(), plain.model.disable_adapter(), torch.no_grad():
        off = [float(t.loss(t.model, t.collate(t.rows[:3]))) for t in (plain, fast)]
    assert off[0] == pytest.approx(off[1])


@pytest.mark.parametrize("way", ["nf4", "nf4 twice", "nf4 dora", "nf4 packed", "int8"])
def test_fast_and_plain_paths_agree_step_by_step(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, way: str
) -> None:
    curves = []
    for fast in (True, False):
        trainer = prepare(tiny_base, tiny_tokens, settings_of(way, fast=fast), context)
        curves.append([point["loss"] for point in trainer.run().curve])
    assert curves[0] == pytest.approx(curves[1], abs=2e-3 if way == "int8" else 1e-4)
    assert curves[0][-1] < curves[0][0]


def test_without_the_cure_gradients_would_be_wrong(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context
) -> None:
    trainer = prepare(tiny_base, tiny_tokens, settings_of("nf4 in bf16", fast=False), context)
    layers = [m for m in trainer.model.modules() if hasattr(m, "support_avx512bf16_for_cpu")]
    assert len(layers) == 14
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    if not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this CPU has no AVX512-BF16: bitsandbytes repacks nothing here")
    wake(trainer)
    first = gradients(trainer)
    for layer in layers:
        layer.support_avx512bf16_for_cpu = True
    with torch.no_grad():
        trainer.validation_loss()
    after = gradients(trainer)
    wrong = [n for n, grad in after.items() if not torch.allclose(grad, first[n], rtol=0.1)]
    assert len(wrong) > 14, "nothing flows through the base any more, only through the adapters"


@pytest.mark.parametrize("way", ["nf4 twice", "nf4 dora", "int8"])
def test_the_base_is_really_rounded_and_the_rest_is_not(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, way: str
) -> None:
    trainer = prepare(tiny_base, tiny_tokens, settings_of(way), context)
    model = bare(trainer.model)
    model.set_attn_implementation("sdpa")
    layer = model.model.layers[0].mlp.down_proj.base_layer
    assert layer.weight.dtype == (torch.int8 if way == "int8" else torch.uint8)
    assert model.model.embed_tokens.weight.dtype == torch.float32
    inputs = pad([trainer.rows[i] for i in range(4)], CPU)
    plain = load_base(tiny_base.model, dtype=torch.float32, device=CPU)
    with torch.no_grad():
        rounded, exact = model.eval()(**inputs.arguments), plain(**inputs.arguments)
    difference = (rounded.logits - exact.logits)[inputs.arguments["attention_mask"] > 0].abs()
    assert 1e-3 < difference.mean() < 0.5 * exact.logits.std()


@pytest.mark.parametrize("way", ["nf4 twice", "nf4 in bf16", "int8"])
def test_trained_on_the_rounded_base_merged_into_the_precise_one(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tiny_dataset: Dataset,
    tmp_path: Path,
    way: str,
) -> None:
    heard = Heard()
    context = Context(tmp_path, tmp_path, events=heard)
    settings = settings_of(way, max_steps=24, learning_rate=2e-2, eval_steps=6, num_train_epochs=8)
    adapter = train(tiny_base, tiny_tokens, settings, out=tmp_path / "adapter", context=context)
    losses = [values["loss"] for _, values in heard.curve if "loss" in values]
    assert losses[-1] < 0.3 * losses[0]

    name = "model.layers.1.self_attn.q_proj"
    saved = load_file(adapter.model / "adapter_model.safetensors")
    a, b = (saved[f"base_model.model.{name}.lora_{x}.weight"] for x in "AB")
    precise = load_file(tiny_base.model / "model.safetensors")[f"{name}.weight"]
    merged, _ = load_merged(tiny_base.model, adapter.model)
    weight = merged.get_submodule(name).weight
    torch.testing.assert_close(weight, precise + 32 / 4 * b @ a, rtol=0, atol=1e-6)

    merge(tiny_base, adapter, tmp_path / "merged")
    exported = load_file(tmp_path / "merged" / "model.safetensors")
    assert torch.equal(exported[f"{name}.weight"], weight)
    assert "quantization_config" not in (tmp_path / "merged" / "config.json").read_text()
    report = evaluate(
        tiny_base,
        tiny_dataset,
        tiny_tokens,
        adapter,
        EvaluationSettings(),
        out=tmp_path / "evaluation",
        context=context,
    )
    base, tuned = report.facts["models"]["base"], report.facts["models"]["tuned"]
    assert tuned["answer_loss"] < 0.3 * base["answer_loss"]


def test_double_quantisation_takes_less_room(tiny_base: BaseModelFolder) -> None:
    def room(double: bool) -> int:
        quantized = QuantizedLoading(load_in_4bit=True, bnb_4bit_use_double_quant=double)
        model = load_base(tiny_base.model, dtype=torch.float32, device=CPU, quantized=quantized)
        layer: Any = model.model.layers[0].mlp.down_proj
        state = layer.weight.quant_state
        assert state.nested == double
        return int(state.absmax.nbytes)

    assert room(True) * 4 == room(False)


def test_a_gpu_without_bf16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    with pytest.raises(ModelError, match=r"Tesla T4 has no bf16 .*\n.*compute_dtype: float16"):
        need_compute_dtype(torch.bfloat16, torch.device("cuda"))
    need_compute_dtype(torch.float16, torch.device("cuda"))
    need_compute_dtype(torch.bfloat16, CPU)


def test_without_bitsandbytes_it_says_so(
    tiny_base: BaseModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    quantized = QuantizedLoading(load_in_4bit=True)
    with pytest.raises(ModelError, match="need bitsandbytes, which is not installed"):
        load_base(tiny_base.model, dtype=torch.float32, device=CPU, quantized=quantized)
