"""Training on a GPU: exact to the plain path, no waiting for the device, survives.

bf16 keeps 8 bits of mantissa, TF32 (fp32 on tensor cores) 11: two ways to the same sum drift apart
over a run. On CPU fast and plain bf16 paths were 0.013 nats apart after 50 steps (tests/golden);
0.05 is allowed here, and 0.01 for fp32.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.training.settings import TrainingSettings

pytestmark = pytest.mark.gpu

BF16, FP32 = 0.05, 0.01
SETTINGS: dict[str, Any] = {
    "learning_rate": 5e-3,
    "num_train_epochs": 4,
    "max_steps": 12,
    "per_device_train_batch_size": 10,
    "eval_steps": 6,
    "save_steps": 3,
}


def run(
    base: BaseModelFolder, tokens: Tokens, folder: Path, **changes: Any
) -> tuple[list[float], Adapter, Heard]:
    from components.training.train import train

    heard = Heard()
    folder.mkdir(exist_ok=True)
    settings = TrainingSettings(**{**SETTINGS, **changes})
    context = Context(folder, folder / "scratch", heard)
    made = train(base, tokens, settings, out=folder / "made", context=context)
    return [values["loss"] for _, values in heard.curve if "loss" in values], made, heard


def trainer_of(base: BaseModelFolder, tokens: Tokens, context: Context, **changes: Any) -> Any:
    from components.training.train import prepare

    return prepare(base, tokens, TrainingSettings(**{**SETTINGS, **changes}), context)


def test_the_machine_tells_what_it_is() -> None:
    from components.model.capability import capability

    found = capability()
    print(found)
    assert found["gpus"] >= 1
    assert found["memory_gb"] > 1
    assert found["cuda"]


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize(("bf16", "tolerance"), [(True, BF16), (False, FP32)])
def test_losses_are_those_of_the_plain_loop(
    wide_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tmp_path: Path,
    bf16: bool,
    tolerance: float,
    packing: bool,
) -> None:
    import torch

    if bf16 and not torch.cuda.is_bf16_supported():
        pytest.skip("this GPU has no bf16 arithmetic")
    changes = {"bf16": bf16, "packing": packing, "packing_length": 256}
    fast, made, _ = run(wide_base, tiny_tokens, tmp_path / "fast", **changes)
    plain, _, _ = run(wide_base, tiny_tokens, tmp_path / "plain", fast=False, **changes)
    assert made.facts["device"] == "cuda"
    assert made.facts["dtype"] == ("bfloat16" if bf16 else "float32")
    assert fast == pytest.approx(plain, abs=tolerance)
    assert fast[-1] < 0.7 * fast[0]


def test_packed_rows_go_through_the_kernel_and_do_not_see_each_other(
    wide_base: BaseModelFolder, tiny_tokens: Tokens, context: Context
) -> None:
    import torch

    from components.model import packed_attention
    from components.model.full import bare
    from components.training.collate import pad

    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("FlashAttention's variable-length kernel needs compute capability 8.0")
    trainer = trainer_of(wide_base, tiny_tokens, context, packing=True, bf16=True)
    rows = [trainer.rows[i] for i in range(6)]
    model = bare(trainer.model).eval()
    assert model.config._attn_implementation == packed_attention.NAME
    calls: list[int] = []
    kernel = packed_attention.by_kernel
    packed_attention.by_kernel = lambda *args: calls.append(1) or kernel(*args)
    try:
        with torch.no_grad():
            found = model(**trainer.collate(rows).arguments, use_cache=False).logits[0]
            others = [replace(rows[0], input_ids=rows[0].input_ids[::-1].copy()), *rows[1:]]
            changed = model(**trainer.collate(others).arguments, use_cache=False).logits[0]
    finally:
        packed_attention.by_kernel = kernel
    assert len(calls) == 4, "two layers, two passes"
    first = len(rows[0].input_ids)
    assert torch.equal(found[first:], changed[first:]), "the rows after it do not see the first"
    assert not torch.equal(found[:first], changed[:first])
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        alone = [
            model(**pad([row], model.device).arguments, use_cache=False).logits[0] for row in rows
        ]
    assert float((found - torch.cat(alone)).abs().max()) < 0.1


@pytest.mark.parametrize("packing", [False, True])
def test_forward_and_backward_never_wait_for_the_device(
    wide_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, packing: bool
) -> None:
    import torch

    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("without the variable-length kernel rows are padded, and their mask looked at")
    changes = {"packing": packing, "packing_length": 256}
    trainer = trainer_of(wide_base, tiny_tokens, context, bf16=True, **changes)
    trainer.model.train()
    rows = [[trainer.rows[i] for i in batch] for batch in trainer.plan[0]]
    trainer.backward(rows, 20)  # the first pass builds what is kept
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.backward(rows, 20)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("changes", [{"load_in_4bit": True}, {"load_in_8bit": True}])
def test_a_quantised_base_loads_and_learns(
    wide_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, changes: dict[str, bool]
) -> None:
    import torch

    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    trainer = trainer_of(wide_base, tiny_tokens, context, bf16=True, **changes)
    before = {name: p.detach().clone() for name, p in trainer.trainable.items()}
    for number in (1, 2, 3):
        trainer.step(number)
        trainer.evaluate()
    moved = [name for name, p in trainer.trainable.items() if not torch.equal(p, before[name])]
    assert len(moved) == len(before) == 28
    losses = [point["loss"] for point in trainer.progress.curve]
    assert losses[-1] < losses[0]


def test_memory_that_really_runs_out_is_survived(
    wide_base: BaseModelFolder, tiny_tokens: Tokens, tmp_path: Path
) -> None:
    import torch

    # Plain bf16 without chunks: the whole batch is alive at once, and halves are half as much.
    changes = {"bf16": True, "fast": False, "per_device_train_batch_size": 60, "max_steps": 6}
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    whole, facts, _ = run(wide_base, tiny_tokens, tmp_path / "whole", **changes)
    assert facts.facts["out_of_memory"] == 0
    peak = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(0.75 * peak / total)
    try:
        cut, made, heard = run(wide_base, tiny_tokens, tmp_path / "cut", **changes)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert made.facts["out_of_memory"] >= 1
    assert any("out of memory; taken again" in note for note in heard.notes)
    assert cut == pytest.approx(whole, abs=BF16)


def test_a_run_that_was_cut_off_goes_on(
    wide_base: BaseModelFolder, tiny_tokens: Tokens, tmp_path: Path
) -> None:
    from components.training.train import train

    class Killed(Heard):
        def metrics(self, step: int, values: Any) -> None:
            if step == 8:
                raise KeyboardInterrupt

    changes = {"bf16": False, "lora_dropout": 0.1}
    whole, _, _ = run(wide_base, tiny_tokens, tmp_path / "whole", **changes)
    folder = tmp_path / "cut"
    settings = TrainingSettings(**{**SETTINGS, **changes})
    context = Context(folder, folder / "scratch", Killed())
    with pytest.raises(KeyboardInterrupt):
        train(wide_base, tiny_tokens, settings, out=folder / "made", context=context)
    rest, _, heard = run(wide_base, tiny_tokens, folder, **changes)
    assert "resuming after step 6" in heard.notes
    assert rest == pytest.approx(whole[6:], abs=FP32)


@pytest.mark.parametrize("changes", [{}, {"finetuning_type": "full", "fsdp": True}])
def test_two_gpus_give_the_losses_of_one(
    wide_base: BaseModelFolder, tiny_tokens: Tokens, tmp_path: Path, changes: dict[str, Any]
) -> None:
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip(f"needs two GPUs, this machine has {torch.cuda.device_count()}")
    common = {"bf16": False, "learning_rate": 1e-3} | changes
    two, made, _ = run(wide_base, tiny_tokens, tmp_path / "two", num_processes=2, **common)
    common |= {"gradient_accumulation_steps": 2}
    one, _, _ = run(wide_base, tiny_tokens, tmp_path / "one", **common | {"fsdp": False})
    assert made.facts["num_processes"] == 2
    assert two == pytest.approx(one, abs=FP32)
