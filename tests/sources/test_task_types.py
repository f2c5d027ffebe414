"""Checkpoints that do not fit the recipe's task type are refused with what fits."""

from pathlib import Path

import pytest

from components.contracts.errors import ModelError
from components.contracts.events import Context, Heard
from components.contracts.task_types import SEQ_CLS, TaskType, task_type_of
from components.sources.fetch import fetch
from components.sources.settings import RandomModel


def brought(folder: Path, architecture: str, task_type: TaskType) -> str:
    settings = RandomModel.model_validate(
        {"kind": "random", "architecture": architecture, "task_type": task_type}
    )
    context = Context(folder, folder, events=Heard())
    return task_type_of(fetch(settings, out=folder / "base", context=context))


def test_the_base_says_what_it_is_for(tmp_path: Path) -> None:
    assert brought(tmp_path / "a", "bert", SEQ_CLS) == SEQ_CLS
    assert brought(tmp_path / "b", "llama", "CAUSAL_LM") == "CAUSAL_LM"


def test_an_encoder_is_no_decoder_and_the_other_way_round(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="BertModel is an encoder") as caught:
        brought(tmp_path, "bert", "CAUSAL_LM")
    assert "model.task_type: SEQ_CLS" in str(caught.value)
    with pytest.raises(ModelError, match=r"LlamaForCausalLM \(model_type llama\)") as caught:
        brought(tmp_path, "llama", SEQ_CLS)
    assert "distilbert" in str(caught.value)
    assert not (tmp_path / "base").exists()


def test_the_same_seed_gives_the_same_encoder(tmp_path: Path) -> None:
    bases = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        settings = RandomModel(kind="random", architecture="bert", task_type=SEQ_CLS, seed=seed)
        folder = tmp_path / name
        bases.append(fetch(settings, out=folder / "base", context=Context(folder, folder)))
    assert bases[0].digest == bases[1].digest != bases[2].digest
