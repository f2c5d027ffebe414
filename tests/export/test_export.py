import json
import logging
import os
import shutil
from pathlib import Path

import pytest
from tiny_export import write_export

from components.contracts.artefacts import write_json
from components.contracts.errors import ModelError, SpaceError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx
from components.export import builder
from components.export.architectures import ARCHITECTURES
from components.export.export import bytes_needed, export, parameters
from components.export.settings import ExportSettings

FILES = {
    "chat_template.jinja",
    "config.json",
    "genai_config.json",
    "generation_config.json",
    "model.onnx",
    "model.onnx_data",
    "tokenizer.json",
    "tokenizer_config.json",
}


def with_architecture(base: BaseModelFolder, folder: Path, name: str) -> BaseModelFolder:
    with BaseModelFolder.write(folder) as draft:
        model = shutil.copytree(base.model, draft.folder / "model")
        config = json.loads((model / "config.json").read_text())
        write_json(model / "config.json", config | {"architectures": [name]})
    return BaseModelFolder.open(folder)


def test_every_variant_is_complete_in_itself(tiny_onnx: Onnx) -> None:
    assert set(tiny_onnx.variants) == {"fp32", "int8", "int4"}
    for name in tiny_onnx.variants:
        assert {file.name for file in tiny_onnx.variant(name).iterdir()} == FILES
    sizes = [tiny_onnx.facts["variants"][name]["bytes"] for name in ("fp32", "int8", "int4")]
    assert sizes == sorted(sizes, reverse=True)


def test_facts_say_what_was_written(tiny_onnx: Onnx, tiny_base: BaseModelFolder) -> None:
    facts = tiny_onnx.facts
    assert facts["architecture"] == "LlamaForCausalLM"
    assert facts["parameters"] == parameters(tiny_base.model) == tiny_base.facts["parameters"]
    for name, variant in facts["variants"].items():
        files = [entry for file, entry in tiny_onnx.files.items() if file.startswith(f"{name}/")]
        assert variant["bytes"] == sum(entry["size"] for entry in files)
        assert variant["nodes"] > 20
        assert variant["opset"]["com.microsoft"] == 1
    assert facts["variants"]["fp32"]["quantization"] is None
    assert facts["variants"]["int8"]["quantization"]["block_size"] == 64


def test_the_same_inputs_give_the_same_bytes(
    tiny_base: BaseModelFolder,
    tiny_adapter: Adapter,
    tiny_onnx: Onnx,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = tmp_path / "another" / "place"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    again = write_export(tiny_base, tiny_adapter, elsewhere)
    assert again.files == tiny_onnx.files
    assert again.facts == tiny_onnx.facts
    assert not list(elsewhere.glob("scratch/*")), "the merged model must not stay"
    assert [entry.name for entry in elsewhere.iterdir() if entry.name != "scratch"] == ["onnx"]


def test_files_name_neither_place_nor_commit(tiny_onnx: Onnx, tiny_base: BaseModelFolder) -> None:
    import onnx

    places = {os.fsencode(path) for path in (Path.cwd(), Path.home(), tiny_onnx.path.parent)}
    for name in tiny_onnx.files:
        content = (tiny_onnx.path / name).read_bytes()
        assert not [place for place in places if len(place) > 1 and place in content], name
    graph = onnx.load(tiny_onnx.variant("int8") / "model.onnx", load_external_data=False)
    assert graph.producer_version == builder.version_of_builder()


def test_the_adapter_is_in_the_export(
    tiny_base: BaseModelFolder, tiny_adapter: Adapter, tiny_onnx: Onnx, tmp_path: Path
) -> None:
    from tiny_export import write_adapter

    other = write_adapter(tiny_base, tmp_path / "adapter", seed=1)
    exported = write_export(tiny_base, other, tmp_path, ExportSettings(variants=("fp32",)))
    weights = "fp32/model.onnx_data"
    assert exported.files[weights] != tiny_onnx.files[weights]


def test_it_is_quiet_and_leaves_logging_alone(
    tiny_base: BaseModelFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = (logging.root.level, list(logging.root.handlers), logging.root.manager.disable)
    builder.build(tiny_base.model, tmp_path / "int8", "int8", ExportSettings())
    assert capfd.readouterr() == ("", "")
    assert before == (logging.root.level, logging.root.handlers, logging.root.manager.disable)


def test_progress_is_told(
    tiny_base: BaseModelFolder, tiny_adapter: Adapter, tmp_path: Path
) -> None:
    heard = Heard()
    settings = ExportSettings(variants=("fp32",))
    context = Context(root=tmp_path, scratch=tmp_path / "scratch", events=heard)
    export(tiny_base, tiny_adapter, settings, out=tmp_path / "onnx", context=context)
    assert heard.marks == [("exporting", 0, 1), ("exporting", 1, 1)]


def test_too_little_room_is_said_before_anything_is_loaded(
    tiny_base: BaseModelFolder,
    tiny_adapter: Adapter,
    context: Context,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1000))
    out = tmp_path / "out" / "onnx"
    with pytest.raises(SpaceError, match="export of fp32, int8, int4 needs about"):
        export(tiny_base, tiny_adapter, ExportSettings(), out=out, context=context)
    assert not list(out.parent.iterdir())


def test_a_real_export_fits_in_the_room_asked_for(
    tiny_base: BaseModelFolder, tiny_onnx: Onnx
) -> None:
    merged = 4 * parameters(tiny_base.model)
    files = sum(entry["size"] for entry in tiny_onnx.files.values())
    assert merged + files < bytes_needed(tiny_base.model, ExportSettings())


def test_room_grows_with_the_model_and_the_variants(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"w": np.zeros((1000, 10_000), np.int8)}, tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", {"vocab_size": 1000, "hidden_size": 1000})
    one = bytes_needed(tmp_path, ExportSettings(variants=("fp32",)))
    both = bytes_needed(tmp_path, ExportSettings(variants=("fp32", "int8")))
    assert one == pytest.approx(2 * 4.1e7 + 1.6e7)
    assert both - one == pytest.approx(1.25e7 + 4e6 + 1.6e7)


def test_an_unknown_architecture_is_refused_with_what_is_known(
    tiny_base: BaseModelFolder, tiny_adapter: Adapter, context: Context, tmp_path: Path
) -> None:
    base = with_architecture(tiny_base, tmp_path / "base", "LamaForCausalLM")
    with pytest.raises(ModelError, match="did you mean 'LlamaForCausalLM'") as caught:
        export(base, tiny_adapter, ExportSettings(), out=tmp_path / "onnx", context=context)
    assert all(name in str(caught.value) for name in ARCHITECTURES)
    assert not (tmp_path / "onnx").exists()


def test_every_architecture_named_is_known_to_the_builder() -> None:
    from importlib.util import find_spec

    spec = find_spec("onnxruntime_genai")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "models" / "builder.py").read_text(encoding="utf-8")
    for name in ARCHITECTURES:
        assert f'"{name}"' in source


def test_what_the_builder_cannot_do_is_said_in_one_error(
    tiny_base: BaseModelFolder, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_base.model, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="the int8 file cannot be built"):
        builder.build(folder, tmp_path / "int8", "int8", ExportSettings())
