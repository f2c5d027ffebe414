"""All variants under one name, as transformers.js looks for them."""

import json
import shutil
from pathlib import Path

import pytest
from four_readers import ask_javascript, ask_ours
from typer.testing import CliRunner

from components.contracts.errors import ArtefactError, ModelError
from components.contracts.kinds import Onnx
from components.export.javascript import write_view
from flows.export_for import layout_of

PROMPTS = [[{"role": "user", "content": "Good morning!"}]]


def test_the_view_has_files_of_its_own(tiny_onnx: Onnx, tmp_path: Path) -> None:
    view = write_view(tiny_onnx, tmp_path / "tiny")
    assert view.variants == {"fp32": "fp32", "int8": "q8", "int4": "q4"}
    assert view.left_out == ()
    files = {file.relative_to(view.folder).as_posix() for file in view.folder.rglob("*.*")}
    graphs = {"onnx/model.onnx", "onnx/model_quantized.onnx", "onnx/model_q4.onnx"}
    assert files >= graphs | {f"{name}_data" for name in graphs}
    assert files >= {"config.json", "tokenizer.json", "tokenizer_config.json"}
    assert "generation_config.json" in files
    for variant, name in (("fp32", "model"), ("int8", "model_quantized"), ("int4", "model_q4")):
        weights = tiny_onnx.variant(variant) / "model.onnx_data"
        copied = view.folder / "onnx" / f"{name}.onnx_data"
        assert copied.read_bytes() == weights.read_bytes()
        assert weights.stat().st_nlink == copied.stat().st_nlink == 1


def test_the_export_can_be_read_by_onnx_afterwards(tiny_onnx: Onnx, tmp_path: Path) -> None:
    import onnx

    write_view(tiny_onnx, tmp_path / "tiny")
    onnx.load(tiny_onnx.variant("int8") / "model.onnx")
    onnx.load(tmp_path / "tiny" / "onnx" / "model_quantized.onnx")


def test_javascript_finds_every_type_by_its_name(tiny_onnx: Onnx, tmp_path: Path) -> None:
    view = write_view(tiny_onnx, tmp_path / "tiny")
    ask = {"folder": str(view.folder), "prompts": PROMPTS, "max_new_tokens": 6}
    types = [{}, {"dtype": "fp32"}, {"dtype": "q8"}, {"dtype": "q4"}]
    said = ask_javascript([ask | {"options": options} for options in types])
    for found, variant in zip(said, ("fp32", "fp32", "int8", "int4"), strict=True):
        assert found == ask_ours(tiny_onnx.variant(variant), PROMPTS, 6)


def test_what_it_takes_by_itself_is_there(tiny_onnx: Onnx, tmp_path: Path) -> None:
    told = json.loads((write_view(tiny_onnx, tmp_path / "all").folder / "config.json").read_text())
    assert "dtype" not in told["transformers.js_config"]
    facts = {**tiny_onnx.facts, "variants": {"int4": {}}}
    only = Onnx(tiny_onnx.path, facts, tiny_onnx.files)
    told = json.loads((write_view(only, tmp_path / "one").folder / "config.json").read_text())
    assert told["transformers.js_config"]["dtype"] == "q4"
    assert told["transformers.js_config"]["use_external_data_format"] == {"model_q4.onnx": 1}


def test_a_type_without_a_name_is_left_out_and_said(tiny_onnx: Onnx, tmp_path: Path) -> None:
    facts = {**tiny_onnx.facts, "variants": {"bf16": {}, "int8": {}}}
    view = write_view(Onnx(tiny_onnx.path, facts, tiny_onnx.files), tmp_path / "view")
    assert view.left_out == ("bf16",)
    facts = {**tiny_onnx.facts, "variants": {"bf16": {}}}
    with pytest.raises(ArtefactError, match="no name for bf16"):
        write_view(Onnx(tiny_onnx.path, facts, tiny_onnx.files), tmp_path / "none")


def test_what_is_there_already_stays(tiny_onnx: Onnx, tmp_path: Path) -> None:
    (tmp_path / "view").mkdir()
    with pytest.raises(ArtefactError, match="there already"):
        write_view(tiny_onnx, tmp_path / "view")
    assert not list((tmp_path / "view").iterdir())


def test_other_readers_need_no_layout(tmp_path: Path) -> None:
    for reader in ("onnxruntime", "onnxruntime-genai", "optimum"):
        with pytest.raises(ModelError, match="as it is"):
            layout_of(reader, tmp_path)
    with pytest.raises(ModelError, match=r"did you mean 'transformers\.js'"):
        layout_of("transformer.js", tmp_path)


def test_the_command_tells_what_it_wrote(
    tiny_onnx: Onnx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.cli import app

    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "tiny.yaml").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    before = CliRunner().invoke(app, ["export-for", "transformers.js", "tiny", "out"])
    assert "nothing of recipe 'tiny' has been exported here" in str(before.exception)
    shutil.copytree(tiny_onnx.path, tmp_path / "data" / "tiny" / "onnx")
    done = CliRunner().invoke(app, ["export-for", "transformers.js", "tiny", "out"])
    assert done.exit_code == 0, done.output
    assert "fp32 (fp32), q4 (int4), q8 (int8)" in done.output
    assert (tmp_path / "out" / "onnx" / "model_quantized.onnx").is_file()
