"""A random adapter on the tiny base and its export, made once for all tests."""

from pathlib import Path

from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx
from components.export.export import export
from components.export.settings import ExportSettings
from components.model.adapter import attach_adapter, save_adapter
from components.model.base import load_base
from components.model.settings import LoraSettings


def write_adapter(base: BaseModelFolder, out: Path, seed: int = 0) -> Adapter:
    """Write an adapter with random weights, so that merging it changes the model."""
    import torch

    torch.manual_seed(seed)
    model = attach_adapter(
        load_base(base.model, dtype=torch.float32, device=torch.device("cpu")), LoraSettings()
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    with Adapter.write(out) as draft:
        save_adapter(model, draft.folder / "model", "tiny")
    return Adapter.open(out)


def write_export(
    base: BaseModelFolder, adapter: Adapter, folder: Path, settings: ExportSettings | None = None
) -> Onnx:
    context = Context(root=folder, scratch=folder / "scratch")
    return export(base, adapter, settings or ExportSettings(), out=folder / "onnx", context=context)
