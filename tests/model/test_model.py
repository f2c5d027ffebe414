"""Loading, adapting and merging."""

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from components.contracts.errors import ModelError
from components.contracts.kinds import BaseModelFolder
from components.model.adapter import attach_adapter, save_adapter
from components.model.base import load_base
from components.model.device import fast_dtype
from components.model.merge import load_merged
from components.model.settings import LoraSettings, QuantizedLoading

CPU = torch.device("cpu")
IDS = torch.tensor([[5, 6, 7, 8]])


def tuned(base: BaseModelFolder, folder: Path) -> torch.Tensor:
    """Write an adapter that changes something and return the logits of the unmerged model."""
    model = load_base(base.model, dtype=torch.float32, device=CPU)
    torch.manual_seed(1)
    adapted = attach_adapter(model, LoraSettings(lora_r=4)).eval()
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    save_adapter(adapted, folder, "random llama")
    with torch.no_grad():
        logits: torch.Tensor = adapted(IDS).logits
    return logits


def test_merged_equals_unmerged(tiny_base: BaseModelFolder, tmp_path: Path) -> None:
    expected = tuned(tiny_base, tmp_path / "adapter")
    merged, tokenizer = load_merged(tiny_base.model, tmp_path / "adapter")
    plain = load_base(tiny_base.model, dtype=torch.float32, device=CPU)
    with torch.no_grad():
        torch.testing.assert_close(merged(IDS).logits, expected, rtol=0, atol=1e-4)
        assert (plain(IDS).logits - expected).abs().max() > 1e-2
    assert tokenizer.eos_token_id == 2


def test_adapter_folder_names_no_path(tiny_base: BaseModelFolder, tmp_path: Path) -> None:
    tuned(tiny_base, tmp_path / "adapter")
    names = sorted(p.name for p in (tmp_path / "adapter").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "random llama"
    assert config["target_modules"] == sorted(config["target_modules"])


def test_adapter_of_another_shape_is_refused(tiny_base: BaseModelFolder, tmp_path: Path) -> None:
    tuned(tiny_base, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"r": 8}))
    with pytest.raises(ModelError, match="cannot be merged"):
        load_merged(tiny_base.model, tmp_path / "adapter")


def test_folder_without_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no causal language model"):
        load_base(tmp_path, dtype=torch.float32, device=CPU)


def test_four_and_eight_bit_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="exclude each other"):
        QuantizedLoading(load_in_4bit=True, load_in_8bit=True)


def test_bf16_is_only_chosen_where_it_is_native() -> None:
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert fast_dtype(CPU) == (torch.bfloat16 if native else torch.float32)


def test_adapter_on_the_top_blocks_only(tiny_base: BaseModelFolder) -> None:
    model = load_base(tiny_base.model, dtype=torch.float32, device=CPU)
    adapted = attach_adapter(model, LoraSettings(lora_top_layers=1))
    names = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert len(names) == 14
    assert all(".layers.1." in name for name in names)


def test_more_top_blocks_than_there_are_is_refused(tiny_base: BaseModelFolder) -> None:
    model = load_base(tiny_base.model, dtype=torch.float32, device=CPU)
    with pytest.raises(ModelError, match="is 3, but the model has 2 blocks"):
        attach_adapter(model, LoraSettings(lora_top_layers=3))
