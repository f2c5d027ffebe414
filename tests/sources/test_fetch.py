"""Base models: built on the spot, and copied from a folder."""

import json
import shutil
from pathlib import Path

import pytest

from components.contracts.artefacts import sha256
from components.contracts.errors import ModelError, SourceError, SpaceError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder
from components.sources.fetch import fetch
from components.sources.settings import FileModel, HubModel, RandomModel


@pytest.fixture
def random_base(context: Context) -> BaseModelFolder:
    return fetch(RandomModel(kind="random"), out=context.root / "base", context=context)


def as_input(base: BaseModelFolder, context: Context) -> Path:
    folder = context.root / "data" / "inputs" / "model"
    shutil.copytree(base.model, folder)
    return folder


def test_a_random_model_is_the_same_bytes_for_the_same_seed(
    random_base: BaseModelFolder, context: Context
) -> None:
    again = fetch(RandomModel(kind="random"), out=context.root / "again", context=context)
    other = fetch(RandomModel(kind="random", seed=1), out=context.root / "other", context=context)
    assert again.digest == random_base.digest
    assert other.facts["weights_sha256"] != random_base.facts["weights_sha256"]


def test_its_facts_say_what_it_is(random_base: BaseModelFolder) -> None:
    facts = random_base.facts
    weights = random_base.model / "model.safetensors"
    assert facts["architecture"] == "LlamaForCausalLM"
    assert facts["weights_sha256"] == sha256(weights)
    assert facts["tied"] is True
    assert facts["vocabulary_size"] == 259
    assert weights.stat().st_size < 1_000_000


def test_transformers_loads_it_whole_and_generates(random_base: BaseModelFolder) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, info = AutoModelForCausalLM.from_pretrained(random_base.model, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(random_base.model)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.num_parameters() == random_base.facts["parameters"]
    messages = [{"role": "user", "content": "Hé 你好!"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\nHé 你好!<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert ids[0] == tokenizer.bos_token_id == 1
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 2
    made = model.generate(torch.tensor([ids]), max_new_tokens=3, min_new_tokens=3)
    assert made.shape == (1, len(ids) + 3)


def test_a_folder_is_copied_without_pickles_and_code(
    random_base: BaseModelFolder, context: Context
) -> None:
    folder = as_input(random_base, context)
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling_own.py").write_text("print('hello')")
    settings = FileModel(kind="file", path="data/inputs/model", title="mine")
    copy = fetch(settings, out=context.root / "copy", context=context)
    assert sorted(p.name for p in copy.model.iterdir()) == sorted(
        p.name for p in random_base.model.iterdir()
    )
    assert copy.facts["title"] == "mine"
    assert copy.facts["weights_sha256"] == random_base.facts["weights_sha256"]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no weights"),
        ("tokenizer*", "no a tokenizer"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(
    random_base: BaseModelFolder, context: Context, missing: str, said: str
) -> None:
    folder = as_input(random_base, context)
    for file in folder.glob(missing):
        file.unlink()
    settings = FileModel(kind="file", path="data/inputs/model")
    with pytest.raises(SourceError, match=said):
        fetch(settings, out=context.root / "copy", context=context)
    assert not (context.root / "copy").exists()


def test_a_quantised_model_is_refused(random_base: BaseModelFolder, context: Context) -> None:
    folder = as_input(random_base, context)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq"}
    (folder / "config.json").write_text(json.dumps(config))
    settings = FileModel(kind="file", path="data/inputs/model")
    with pytest.raises(ModelError, match=r"quantised already \(gptq\)"):
        fetch(settings, out=context.root / "copy", context=context)


def test_a_full_disk_is_seen_before_anything_is_written(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(context.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SpaceError, match="the random model needs"):
        fetch(RandomModel(kind="random"), out=context.root / "base", context=context)
    assert not (context.root / "base").exists()


def test_heads_must_divide_the_hidden_size(context: Context) -> None:
    settings = RandomModel(kind="random", num_attention_heads=3, num_key_value_heads=3)
    with pytest.raises(ModelError, match=r"multiple of model\.num_attention_heads"):
        fetch(settings, out=context.root / "base", context=context)


def test_the_hub_out_of_reach_is_a_readable_error_for_models(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    settings = HubModel(kind="hub", model_name_or_path="owner/model", revision="b" * 40)
    with pytest.raises(SourceError, match=r"model owner/model at b+ cannot be read") as error:
        fetch(settings, out=context.root / "base", context=context)
    assert "network" in str(error.value.fix)


def test_a_teacher_lies_beside_the_model(context: Context) -> None:
    teacher = RandomModel(kind="random", seed=4, hidden_size=96, title="teacher")
    settings = RandomModel(kind="random", teacher=teacher)
    base = fetch(settings, out=context.root / "base", context=context)
    alone = fetch(teacher, out=context.root / "alone", context=context)
    assert base.facts["teacher"] == alone.facts
    assert (base.teacher / "tokenizer.json").is_file()
    assert sha256(base.teacher / "model.safetensors") == alone.facts["weights_sha256"]


def test_a_teacher_of_another_width_is_refused(context: Context) -> None:
    base = fetch(RandomModel(kind="random"), out=context.root / "base", context=context)
    folder = as_input(base, context)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 300}))
    teacher = FileModel(kind="file", path="data/inputs/model")
    with pytest.raises(ModelError, match="vocabulary of 300 tokens, but random llama one of 259"):
        fetch(
            RandomModel(kind="random", teacher=teacher),
            out=context.root / "taught",
            context=context,
        )
    assert not (context.root / "taught").exists()
