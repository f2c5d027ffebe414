"""Every kind of adapter: exact against a plain loop, and what is saved fits the original base."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from components.contracts.errors import ModelError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.contracts.tables import IGNORED
from components.model.base import load_base
from components.model.full import bare
from components.model.merge import load_merged
from components.training.collate import pad
from components.training.forecast import forecast
from components.training.settings import TrainingSettings
from components.training.train import prepare, train

CPU = torch.device("cpu")
IDS = torch.tensor([[1, 40, 41, 99, 12, 61], [1, 40, 41, 7, 150, 60]])
STEPS = 6
KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "gaussian": {"init_lora_weights": "gaussian"},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "pissa": {"init_lora_weights": "pissa"},
    "pissa by iterations": {"init_lora_weights": "pissa_niter_4", "use_rslora": True},
    "pissa and dora": {"init_lora_weights": "pissa", "use_dora": True},
    "some layers": {"lora_target_modules": ["q_proj", "v_proj", "down_proj"]},
    "top layer": {"lora_top_layers": 1},
    "full": {"finetuning_type": "full", "learning_rate": 2e-3},
}

QUANTIZED = {"nf4": {"load_in_4bit": True}, "int8": {"load_in_8bit": True}}


@dataclass
class Ran:
    """A short run: its losses, those of a plain loop, and the tuned model's logits."""

    kind: str
    losses: list[float]
    not_fast: list[float]
    reference: list[float]
    logits: torch.Tensor
    adapter: Adapter


def settings_of(kind: str, **changes: Any) -> TrainingSettings:
    values = {"learning_rate": 1e-2, "warmup_steps": 2, "bf16": False, "max_steps": STEPS}
    values |= {"per_device_train_batch_size": 8, "num_train_epochs": 4, "lora_r": 4}
    return TrainingSettings(**{**values, **(KINDS | QUANTIZED)[kind], **changes})


def reference_losses(base: BaseModelFolder, tokens: Tokens, settings: Any, path: Path) -> Any:
    """Return the losses of the same rows, each step by transformers' and peft's own forward."""
    trainer = prepare(
        base, tokens, settings.model_copy(update={"fast": False}), Context(path, path)
    )
    model, losses = trainer.model.train(), []
    optimizer = torch.optim.AdamW(trainer.trainable.values(), lr=1.0, weight_decay=0.0)
    for number, batches in enumerate(trainer.plan, start=1):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(
                number / 2, 1 - max(0, number - 3) / (STEPS - 2)
            )
        inputs = pad([trainer.rows[i] for batch in batches for i in batch], CPU)
        logits = model(**inputs.arguments).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), inputs.labels[:, 1:].flatten(), ignore_index=IGNORED
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainer.trainable.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


@pytest.fixture(scope="module", params=KINDS)
def ran(
    request: pytest.FixtureRequest,
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    tmp_path_factory: pytest.TempPathFactory,
) -> Ran:
    folder = tmp_path_factory.mktemp("kind")
    settings, heard = settings_of(request.param), Heard()
    context = Context(folder, folder, events=heard)
    kept: list[Any] = []
    adapter = train_and_keep(tiny_base, tiny_tokens, settings, folder / "adapter", context, kept)
    with torch.no_grad():
        trained = bare(kept[0].eval())
        trained.set_attn_implementation("sdpa")
        logits = trained(IDS).logits
    return Ran(
        request.param,
        [values["loss"] for _, values in heard.curve],
        losses_without_fast_paths(tiny_base, tiny_tokens, settings, folder),
        reference_losses(tiny_base, tiny_tokens, settings, folder),
        logits,
        adapter,
    )


def losses_without_fast_paths(
    base: BaseModelFolder, tokens: Tokens, settings: Any, path: Path
) -> list[float]:
    settings = settings.model_copy(update={"fast": False})
    progress = prepare(base, tokens, settings, Context(path, path)).run()
    return [point["loss"] for point in progress.curve]


def train_and_keep(
    base: BaseModelFolder, tokens: Tokens, settings: Any, out: Path, context: Context, kept: list
) -> Adapter:
    """Train as the step does, and keep the trained model beside its artefact."""
    import components.training.train as step

    def remember(*arguments: Any) -> Any:
        trainer = prepare(*arguments)
        kept.append(trainer.model)
        return trainer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "prepare", remember)
        return train(base, tokens, settings, out=out, context=context)


def test_losses_are_those_of_a_plain_loop(ran: Ran) -> None:
    assert len(ran.losses) == STEPS
    assert ran.losses == pytest.approx(ran.reference, abs=1e-4)
    assert ran.not_fast == pytest.approx(ran.reference, abs=1e-4)
    assert ran.losses[-1] < ran.losses[0] - 0.1, "it learned something, so the steps count"


def test_peft_loads_the_folder_on_the_original_base(ran: Ran, tiny_base: BaseModelFolder) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    if ran.kind == "full":
        loaded = AutoModelForCausalLM.from_pretrained(ran.adapter.model)
    else:
        base = AutoModelForCausalLM.from_pretrained(tiny_base.model)
        loaded = PeftModel.from_pretrained(base, ran.adapter.model)
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(IDS).logits, ran.logits, rtol=0, atol=2e-4)


def test_merged_is_the_trained_model(ran: Ran, tiny_base: BaseModelFolder) -> None:
    merged, tokenizer = load_merged(tiny_base.model, ran.adapter.model)
    plain = load_base(tiny_base.model, dtype=torch.float32, device=CPU)
    with torch.no_grad():
        torch.testing.assert_close(merged(IDS).logits, ran.logits, rtol=0, atol=2e-4)
        assert (plain(IDS).logits - ran.logits).abs().max() > 1e-2
    assert tokenizer.eos_token_id == 2


def test_the_folder_is_plain_and_names_no_place(ran: Ran, tiny_base: BaseModelFolder) -> None:
    files = {file.name for file in ran.adapter.model.iterdir()}
    if ran.kind == "full":
        assert files == {"config.json", "generation_config.json", "model.safetensors"}
        text = (ran.adapter.model / "config.json").read_text()
    else:
        assert files == {"adapter_config.json", "adapter_model.safetensors"}
        text = (ran.adapter.model / "adapter_config.json").read_text()
        assert not str(json.loads(text)["init_lora_weights"]).startswith("pissa")
    assert str(tiny_base.path) not in text
    assert "/tmp" not in text


def test_facts_count_what_was_trained(ran: Ran) -> None:
    facts = ran.adapter.facts
    assert (facts["trainable_parameters"] == facts["parameters"]) == (ran.kind == "full")


def test_the_forecast_knows_the_kind(
    ran: Ran, tiny_base: BaseModelFolder, tiny_tokens: Tokens
) -> None:
    told = forecast(tiny_base, tiny_tokens, settings_of(ran.kind), runtime=0)
    assert told.trainable_parameters == ran.adapter.facts["trainable_parameters"]
    assert told.dtype == ran.adapter.facts["dtype"]


def test_pissa_starts_from_the_principal_components(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context
) -> None:
    trainer = prepare(tiny_base, tiny_tokens, settings_of("pissa", lora_alpha=4), context)
    name = "model.layers.0.mlp.down_proj"
    whole = load_file(tiny_base.model / "model.safetensors")[f"{name}.weight"]
    layer = bare(trainer.model).get_submodule(name)
    u, s, v = torch.linalg.svd(whole, full_matrices=False)
    principal = u[:, :4] @ torch.diag(s[:4]) @ v[:4]
    found = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(found.detach(), principal, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(layer.base_layer.weight, whole - principal, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["pissa", "dora", "full", "nf4", "int8"])
def test_an_interrupted_run_saves_the_same(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, tmp_path: Path, kind: str
) -> None:
    if kind in QUANTIZED:
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")

    class Cut(Heard):
        def metrics(self, step: int, values: Any) -> None:
            if step == 4:
                raise KeyboardInterrupt

    settings = settings_of(kind, save_steps=3)
    cut = Context(tmp_path, tmp_path / "cut", events=Cut())
    with pytest.raises(KeyboardInterrupt):
        train(tiny_base, tiny_tokens, settings, out=tmp_path / "a", context=cut)
    again = Context(tmp_path, tmp_path / "cut", events=Heard())
    resumed = train(tiny_base, tiny_tokens, settings, out=tmp_path / "a", context=again)
    whole = Context(tmp_path, tmp_path / "whole")
    straight = train(tiny_base, tiny_tokens, settings, out=tmp_path / "b", context=whole)
    assert len(again.events.curve) == STEPS - 3  # type: ignore[attr-defined]
    assert resumed.digest == straight.digest


def test_full_training_in_bf16_keeps_fp32_weights(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, tmp_path: Path
) -> None:
    heard = [Heard(), Heard()]
    for events, bf16 in zip(heard, [False, True], strict=True):
        context = Context(tmp_path, tmp_path, events=events)
        settings = settings_of("full", bf16=bf16, learning_rate=2e-4, warmup_steps=0)
        adapter = train(tiny_base, tiny_tokens, settings, out=tmp_path / "a", context=context)
    assert adapter.facts["dtype"] == "float32"
    weights = load_file(adapter.model / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float32}
    curves = [[values["loss"] for _, values in one.curve] for one in heard]
    assert curves[0] == pytest.approx(curves[1], rel=0.05)
    assert curves[0] != curves[1], "the products were rounded to bf16"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["q_porj", "v_proj"], r"found 'q_porj', .* no such layer; did you mean 'q_proj'\?"),
        (["q_proj", "mlp"], r"found 'mlp', but that is a LlamaMLP, not a linear layer"),
        (["embed_tokens"], r"found 'embed_tokens', but that is a Embedding"),
        (["lm_head"], r"found 'lm_head', .* head is its embedding too"),
    ],
)
def test_a_name_that_cannot_be_adapted_is_refused(
    tiny_base: BaseModelFolder,
    tiny_tokens: Tokens,
    context: Context,
    names: list[str],
    message: str,
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        prepare(tiny_base, tiny_tokens, settings_of("lora", lora_target_modules=names), context)
    assert "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"finetuning_type": "full", "load_in_4bit": True}, "full trains every weight"),
        ({"finetuning_type": "full", "use_dora": True}, "full has no adapter"),
        ({"finetuning_type": "full", "lora_top_layers": 2}, "full has no adapter"),
        ({"init_lora_weights": "pissa", "load_in_8bit": True}, "would not fit the original base"),
        ({"init_lora_weights": "pissa_niter_0"}, "should match pattern"),
        ({"lora_target_modules": []}, "at least 1 item"),
    ],
)
def test_settings_that_exclude_each_other(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**changes)
