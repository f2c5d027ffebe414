"""Pruning and recovery: the masks, the layer, and that what was trained is what ships."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from made_language import PLACE, SETTINGS, run, write_tokens, write_well_read
from pydantic import ValidationError
from tiny_export import write_export

from components.contracts.errors import ModelError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.export.settings import ExportSettings
from components.model.base import load_base
from components.model.merge import load_merged
from components.model.pruning import (
    largest,
    largest_of_groups,
    linear_layers,
    masks_of,
    prune,
    read_pruning,
)
from components.model.pruning_settings import PruningSettings
from components.sources.fetch import fetch
from components.sources.settings import FileModel
from components.training.collate import pad
from components.training.loss import reference_loss
from components.training.masked_lora import MaskedLora
from components.training.rows import read_rows
from components.training.settings import TrainingSettings
from components.training.train import prepare, train
from components.training.verify_resume import verify_resume

CPU = torch.device("cpu")
MOST = PruningSettings(sparsity=0.9)
PRUNED = SETTINGS.model_copy(update={"pruning": MOST, "num_train_epochs": 2, "learning_rate": 5e-3})
KINDS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def base(tiny_base: BaseModelFolder, tmp_path_factory: pytest.TempPathFactory) -> BaseModelFolder:
    """A model that knows something, so that there is something to lose."""
    folder = tmp_path_factory.mktemp("well-read")
    write_well_read(tiny_base, folder)
    source = FileModel(kind="file", path=PLACE)
    return fetch(source, out=folder / "base", context=Context(folder, folder))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return write_tokens(tmp_path_factory.mktemp("rows") / "tokens", 120)


@pytest.fixture(scope="module")
def recovered(
    base: BaseModelFolder, tokens: Tokens, tmp_path_factory: pytest.TempPathFactory
) -> Adapter:
    return run(base, tokens, tmp_path_factory.mktemp("recovered"), PRUNED)


def test_exactly_the_smallest_go_and_of_equal_ones_the_first() -> None:
    size = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 5.0]])
    assert largest(size, 2).tolist() == [[True, False, True], [False, True, True]]
    assert largest(size, 0).all()
    torch.manual_seed(0)
    many = torch.randn(64, 48).bfloat16().float().abs()  # with many equal ones
    mask = largest(many, 1000)
    assert int((~mask).sum()) == 1000
    assert many[~mask].max() <= many[mask].min()


def test_two_of_every_four_neighbours_stay() -> None:
    torch.manual_seed(1)
    size = torch.rand(6, 16)
    mask = largest_of_groups(size).view(-1, 4)
    assert (mask.sum(dim=1) == 2).all()
    groups = size.view(-1, 4)
    for group, kept in zip(groups, mask, strict=True):
        assert group[kept].min() >= group[~kept].max()


def test_gradients_are_those_of_the_formula() -> None:
    torch.manual_seed(2)
    x, low, up = (torch.randn(*s, dtype=torch.float64) for s in ((2, 3, 8), (2, 8), (4, 2)))
    mask = torch.rand(4, 8) > 0.5
    weight, bias = torch.randn(4, 8).double() * mask, torch.randn(4).double()
    ours = [t.clone().requires_grad_() for t in (x, low, up)]
    theirs = [t.clone().requires_grad_() for t in (x, low, up)]
    y = MaskedLora.apply(ours[0], weight, bias, mask, ours[1], ours[2], 1.5)
    merged = mask * (weight + 1.5 * theirs[2] @ theirs[1])
    expected = torch.nn.functional.linear(theirs[0], merged, bias)
    torch.testing.assert_close(y, expected)
    y.sin().sum().backward()
    expected.sin().sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_training_recovers_what_pruning_cost(recovered: Adapter) -> None:
    facts = recovered.facts["pruning"]
    assert facts["eval_loss_pruned"] > facts["eval_loss_base"] + 0.1
    cost = facts["eval_loss_pruned"] - facts["eval_loss_base"]
    assert facts["eval_loss_recovered"] < facts["eval_loss_pruned"] - 0.5 * cost
    assert facts["eval_loss_recovered"] == pytest.approx(recovered.facts["best_eval_loss"])
    assert set(facts["sparsity_by_layer"]) == KINDS
    assert all(
        share == pytest.approx(0.9, abs=1e-3) for share in facts["sparsity_by_layer"].values()
    )
    assert read_pruning(recovered.model) == MOST


def zeros(weight: torch.Tensor) -> float:
    return float((weight == 0).float().mean())


def test_the_merged_model_is_as_sparse_and_the_one_that_was_trained(
    base: BaseModelFolder, tokens: Tokens, recovered: Adapter
) -> None:
    merged, _ = load_merged(base.model, recovered.model)
    masks = masks_of(base.model, MOST)
    for name, layer in linear_layers(merged):
        assert ((layer.weight == 0) == ~masks[name]).all(), name
    rows = read_rows(tokens.split("validation"))
    with torch.no_grad():
        loss = float(reference_loss(merged, pad(list(rows), CPU))) / int(rows.trained.sum())
    assert loss == pytest.approx(recovered.facts["pruning"]["eval_loss_recovered"], abs=1e-4)


def test_the_exported_file_is_as_sparse(
    base: BaseModelFolder, recovered: Adapter, tmp_path: Path
) -> None:
    import onnx
    from onnx.numpy_helper import to_array

    exported = write_export(base, recovered, tmp_path, ExportSettings(variants=["fp32"]))
    file = next(exported.variant("fp32").glob("*.onnx"))
    wide = {
        tensor.name: to_array(tensor)
        for tensor in onnx.load(file).graph.initializer
        if len(tensor.dims) == 2 and ("attn" in tensor.name or "mlp" in tensor.name)
    }
    assert len(wide) >= 8, list(wide)
    for name, array in wide.items():
        assert float((array == 0).mean()) == pytest.approx(0.9, abs=0.01), name


def test_masks_do_not_hang_on_the_precision_of_the_training(
    base: BaseModelFolder, tokens: Tokens, tmp_path: Path
) -> None:
    settings = PRUNED.model_copy(update={"bf16": True, "fast": False})
    context = Context(root=tmp_path, scratch=tmp_path / "scratch")
    trainer = prepare(base, tokens, settings, context)
    masks = masks_of(base.model, MOST)
    model = trainer.model.get_base_model()
    for name, mask in masks.items():
        weight = model.get_submodule(name).base_layer.weight
        assert weight.dtype is torch.bfloat16
        assert (weight[~mask] == 0).all(), name


def test_two_of_four_holds_in_a_model(base: BaseModelFolder) -> None:
    model = load_base(base.model, dtype=torch.float32, device=CPU)
    masks = prune(model, PruningSettings(sparsity_type="2:4"))
    assert {name.rpartition(".")[2] for name in masks} == KINDS
    for _, layer in linear_layers(model):
        assert ((layer.weight.view(-1, 4) != 0).sum(dim=1) == 2).all()
    assert zeros(model.get_output_embeddings().weight) < 0.01


class Killed(Exception):
    """Stands for a power cut."""


class KillAt(Heard):
    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        super().metrics(step, values)
        if step == 13:
            raise Killed


def test_a_killed_run_goes_on_bit_for_bit(
    base: BaseModelFolder, tokens: Tokens, recovered: Adapter, tmp_path: Path
) -> None:
    context = Context(root=tmp_path, scratch=tmp_path / "scratch", events=KillAt())
    with pytest.raises(Killed):
        train(base, tokens, PRUNED, out=tmp_path / "adapter", context=context)
    heard = Heard()
    context = Context(root=tmp_path, scratch=tmp_path / "scratch", events=heard)
    resumed = train(base, tokens, PRUNED, out=tmp_path / "adapter", context=context)
    assert "resuming after step 10" in heard.notes
    assert resumed.digest == recovered.digest


def test_resuming_can_be_certified(base: BaseModelFolder, tokens: Tokens, context: Context) -> None:
    settings = PRUNED.model_copy(update={"eval_steps": None})
    assert verify_resume(base, tokens, settings, steps=4, context=context).equal


@pytest.mark.parametrize("changes", [{"use_dora": True}, {"lora_dropout": 0.1}])
def test_other_adapters_are_refused(
    base: BaseModelFolder, tokens: Tokens, context: Context, tmp_path: Path, changes: Any
) -> None:
    settings = PRUNED.model_copy(update=changes)
    with pytest.raises(ModelError, match="needs plain LoRA"):
        train(base, tokens, settings, out=tmp_path / "adapter", context=context)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"2:4 is a sparsity of 0\.5, not 0\.6"):
        PruningSettings(sparsity=0.6, sparsity_type="2:4")
    with pytest.raises(ValidationError, match="pruning goes with loss_type nll"):
        TrainingSettings(loss_type="ipo", pruning=MOST)
