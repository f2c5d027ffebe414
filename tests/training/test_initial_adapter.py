"""Going on from an adapter: its weights, its bytes in the checkpoint's mark, and what fits."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from components.contracts.artefacts import sha256
from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.model.initial import CONFIG, WEIGHTS
from components.training.initial import initial_adapter
from components.training.resume import fingerprint
from components.training.settings import TrainingSettings
from components.training.train import train

PLACE = "data/initial/mine/adapter"
SETTINGS = TrainingSettings(
    learning_rate=2e-2,
    warmup_steps=0,
    max_steps=2,
    per_device_train_batch_size=10,
    bf16=False,
    adapter_name_or_path=PLACE,
)


@pytest.fixture
def laid(tiny_adapter: Adapter, context: Context) -> Path:
    """The tiny adapter, where a recipe looks for the one to go on from."""
    folder = context.root / PLACE
    shutil.copytree(tiny_adapter.model, folder)
    return folder


def run(base: BaseModelFolder, tokens: Tokens, context: Context, **changes: object) -> Adapter:
    settings = SETTINGS.model_copy(update=changes)
    return train(base, tokens, settings, out=context.root / "adapter", context=context)


@pytest.mark.parametrize("fast", [True, False])
def test_training_begins_from_its_weights(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, laid: Path, fast: bool
) -> None:
    config = json.loads((laid / CONFIG).read_text(encoding="utf-8"))
    made = run(
        tiny_base, tiny_tokens, context, learning_rate=1e-12, fast=fast, lora_r=config["r"],
        lora_alpha=config["lora_alpha"],
    )  # fmt: skip

    before, after = load_file(laid / WEIGHTS), load_file(made.model / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    assert any(float(value.abs().max()) > 1e-3 for name, value in before.items() if "_B" in name)
    assert made.facts["initial_adapter_sha256"] == sha256(laid / WEIGHTS)


def test_another_shape_is_told(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, laid: Path
) -> None:
    with pytest.raises(ModelError, match=r"r is \d+ there and 3 here"):
        run(tiny_base, tiny_tokens, context, lora_r=3)


def test_a_missing_file_is_told(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, context: Context, laid: Path
) -> None:
    (laid / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors"):
        run(tiny_base, tiny_tokens, context)


def test_a_checkpoint_fits_only_the_adapter_it_began_from(context: Context, laid: Path) -> None:
    def mark() -> str:
        return fingerprint(SETTINGS, [], *initial_adapter(SETTINGS, context))

    before = mark()
    assert mark() == before
    with (laid / WEIGHTS).open("ab") as file:
        file.write(b"\0")
    assert mark() != before


def test_it_goes_with_plain_adapters_only() -> None:
    with pytest.raises(ValidationError, match="plain adapter"):
        TrainingSettings(adapter_name_or_path=PLACE, init_lora_weights="pissa")
