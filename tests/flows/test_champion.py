"""The champion of a real MLflow store is brought, byte for byte, when there are new files."""

import shutil
from pathlib import Path

import pytest
from test_register import run_register
from toy_project import Toy

from components.contracts.artefacts import sha256
from components.contracts.errors import ArtefactError
from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Champion, Onnx
from components.export import builder
from components.export.settings import ExportSettings
from flows.champion import champion
from flows.record import open_record
from flows.register import RegistrySettings

NAME = RegistrySettings(name="toy-model")


@pytest.fixture(scope="module")
def tiny_onnx(tiny_base: BaseModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Onnx:
    out = tmp_path_factory.mktemp("onnx") / "onnx"
    with Onnx.write(out) as draft:
        settings = ExportSettings(variants=("fp32",))
        builder.build(tiny_base.model, draft.folder / "fp32", "fp32", settings)
        draft.facts = {"variants": {"fp32": {}}, "execution_provider": "cpu"}
    return Onnx.open(out)


def bring(toy: Toy, onnx: Onnx, out: Path) -> Champion:
    return champion(onnx, NAME, out=out, context=Context(toy.root, toy.root, Heard()))


def test_before_the_first_promotion_there_is_none(
    toy_here: Toy, tiny_onnx: Onnx, tmp_path: Path
) -> None:
    found = bring(toy_here, tiny_onnx, tmp_path / "champion")
    assert found.facts == {"there": False}
    assert found.files == {}


def test_without_a_store_there_is_none(
    tiny_onnx: Onnx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    context = Context(tmp_path, tmp_path)
    made = champion(tiny_onnx, NAME, out=tmp_path / "champion", context=context)
    assert made.facts["there"] is False


def test_the_champion_is_brought_whole_and_the_same_each_time(
    toy_here: Toy, tiny_onnx: Onnx, tmp_path: Path
) -> None:
    made = run_register(toy_here, tiny_onnx, promote=True)
    found = bring(toy_here, tiny_onnx, tmp_path / "champion")
    assert found.facts == {
        "there": True,
        "name": "toy-model",
        "sha256": made.facts["model.sha256"],
        "ship": "fp32",
        "device": "cpu",
    }
    wanted = {
        f"model/{name.removeprefix('fp32/')}": entry["sha256"]
        for name, entry in tiny_onnx.files.items()
        if name.startswith("fp32/")
    }
    assert {name: entry["sha256"] for name, entry in found.files.items()} == wanted
    again = bring(toy_here, tiny_onnx, tmp_path / "again")
    assert sha256(again.path / "manifest.json") == sha256(found.path / "manifest.json")


def test_a_version_that_was_not_promoted_is_not_the_champion(
    toy_here: Toy, tiny_onnx: Onnx, tmp_path: Path
) -> None:
    run_register(toy_here, tiny_onnx, promote=False)
    assert bring(toy_here, tiny_onnx, tmp_path / "champion").facts == {"there": False}


def test_a_champion_of_another_make_is_told(toy_here: Toy, tiny_onnx: Onnx, tmp_path: Path) -> None:
    from mlflow import pyfunc, register_model, start_run

    from flows.store import client

    # The default experiment lies where the store was made: in what all toy projects are copied from
    place = (tmp_path / "other").as_uri()
    experiment = client().create_experiment("other", artifact_location=place)

    class Other(pyfunc.PythonModel):
        def predict(self, model_input: list[str]) -> list[str]:
            return model_input

    with start_run(experiment_id=experiment):
        logged = pyfunc.log_model(name="other", python_model=Other())
    version = register_model(logged.model_uri, "toy-model").version
    client().set_registered_model_alias("toy-model", "champion", version)
    with pytest.raises(ArtefactError, match="holds no exported file of this line"):
        bring(toy_here, tiny_onnx, tmp_path / "champion")
    assert not (tmp_path / "champion").exists()


def test_a_moved_alias_is_followed(toy_here: Toy, tiny_onnx: Onnx, tmp_path: Path) -> None:
    """Whoever moves the alias, by hand or by rolling back: the registry says who is champion."""
    from flows.store import client

    first = run_register(toy_here, tiny_onnx, promote=True)
    with open_record(toy_here.root, "toy", "dvc") as record:
        record.status = "finished"
    folder = Path(shutil.copytree(tiny_onnx.path / "fp32", tmp_path / "fp32"))
    (folder / "notes.json").write_text("{}")
    with Onnx.write(tmp_path / "other") as draft:
        shutil.copytree(folder, draft.folder / "fp32")
        draft.facts = tiny_onnx.facts
    second = run_register(toy_here, Onnx.open(tmp_path / "other"), promote=True)
    found = bring(toy_here, tiny_onnx, tmp_path / "second")
    assert found.facts["sha256"] == second.facts["model.sha256"]
    assert (found.model / "notes.json").is_file()
    client().set_registered_model_alias("toy-model", "champion", "1")
    found = bring(toy_here, tiny_onnx, tmp_path / "back")
    assert found.facts["sha256"] == first.facts["model.sha256"]
