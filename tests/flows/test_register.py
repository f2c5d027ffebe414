"""A real, tiny exported model goes into a real MLflow store and comes back out of the registry."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_project import Toy

from components.contracts import kinds
from components.contracts.events import Heard
from components.contracts.kinds import BaseModelFolder, Onnx, Registration, Report, Verdict
from components.export import builder
from components.export.settings import ExportSettings
from flows.recipe import load_recipe
from flows.record import open_record, read_record
from flows.register import RegistrySettings, RunContext, register

REASONS = [{"check": "items", "passed": True, "text": "24 held-out items"}]


@pytest.fixture(scope="session")
def tiny_onnx(tiny_base: BaseModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Onnx:
    out = tmp_path_factory.mktemp("onnx") / "onnx"
    settings = ExportSettings(variants=("fp32",))
    with Onnx.write(out) as draft:
        builder.build(tiny_base.model, draft.folder / "fp32", "fp32", settings)
        draft.facts = {"variants": {"fp32": {}}, "execution_provider": "cpu"}
    return Onnx.open(out)


def verdict(folder: Path, *, promote: bool) -> Verdict:
    with Verdict.write(folder / f"verdict-{promote}") as draft:
        draft.facts = {"promote": promote, "ship": "fp32", "reasons": REASONS}
    return Verdict.open(folder / f"verdict-{promote}")


def run_register(toy: Toy, onnx: Onnx, *, promote: bool) -> Registration:
    from flows.tracking import lineage, run_of_dvc

    folder = toy.root / "data" / "toy"
    with Report.write(folder / "report") as draft:
        sample = {"id": "a", "text": "What a day!"}
        (draft.folder / "samples.jsonl").write_text(json.dumps(sample) + "\n", encoding="utf-8")
    with kinds.Verification.write(folder / "verification") as draft:
        draft.facts = {}
    with kinds.Dataset.write(folder / "dataset") as draft:
        draft.facts = {"format": load_recipe(toy.root, "toy").format.model_dump(mode="json")}
    run = run_of_dvc(toy.root, "toy")
    tags = lineage(toy.root, "toy", run)
    return register(
        kinds.Dataset.open(folder / "dataset"),
        onnx,
        kinds.Verification.open(folder / "verification"),
        verdict(folder, promote=promote),
        Report.open(folder / "report"),
        RegistrySettings(name="toy-model"),
        out=folder / "registration",
        context=RunContext(toy.root, toy.root / ".tuneline", Heard(), run, tags),
    )


def predict_elsewhere(toy: Toy, tmp_path: Path, uri: str) -> list[str]:
    """Load and ask the model in a fresh process that knows only the tracking store."""
    code = (
        "import json, sys, mlflow;"
        f"model = mlflow.pyfunc.load_model({uri!r});"
        "print(json.dumps(model.predict([{'text': 'What a day!', 'max_new_tokens': 4}])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"],
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: list[str] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_a_promoted_model_is_champion_and_predicts_in_a_fresh_process(
    toy_here: Toy, tiny_onnx: Onnx, tmp_path: Path
) -> None:
    from flows.registry_alias import champion
    from flows.store import client

    made = run_register(toy_here, tiny_onnx, promote=True)

    record = read_record(toy_here.root, "toy")
    assert record is not None
    assert champion("toy-model") == "1"
    version = client().get_model_version("toy-model", "1")
    assert version.run_id == record.mlflow_run_id
    assert version.tags["model.sha256"] == made.facts["model.sha256"]
    assert version.tags["recipe"] == "toy"
    assert version.tags["verdict"] == "promote"
    assert version.tags["git.commit"] == record.git.commit
    assert len(predict_elsewhere(toy_here, tmp_path, "models:/toy-model@champion")) == 1


def test_the_version_has_signature_and_input_example(toy_here: Toy, tiny_onnx: Onnx) -> None:
    import mlflow

    run_register(toy_here, tiny_onnx, promote=True)

    info = mlflow.models.get_model_info("models:/toy-model/1")
    assert info.signature is not None
    assert "max_new_tokens" in str(info.signature.inputs)
    model = mlflow.pyfunc.load_model("models:/toy-model/1")
    assert model.input_example == [{"text": "What a day!", "max_new_tokens": 8}]


def test_a_model_that_may_not_be_champion_leaves_the_champion_alone(
    toy_here: Toy, tiny_onnx: Onnx
) -> None:
    from flows.registry import registered
    from flows.registry_alias import champion

    run_register(toy_here, tiny_onnx, promote=True)
    with open_record(toy_here.root, "toy", "dvc") as record:
        record.status = "finished"
    made = run_register(toy_here, tiny_onnx, promote=False)

    assert champion("toy-model") == "1"
    known = registered("toy-model", made.facts["model.sha256"])
    assert known is not None
    assert (known.version, known.aliases) == ("2", ["challenger"])


def test_registering_again_in_the_same_run_makes_no_second_version(
    toy_here: Toy, tiny_onnx: Onnx
) -> None:
    from flows.store import client

    first = run_register(toy_here, tiny_onnx, promote=True)
    second = run_register(toy_here, tiny_onnx, promote=True)

    assert len(client().search_model_versions("name = 'toy-model'")) == 1
    assert first.digest == second.digest
    assert first.facts == second.facts


def test_a_registration_that_dvc_skipped_is_found_again(toy_here: Toy, tiny_onnx: Onnx) -> None:
    from flows.tracking import registration

    made = run_register(toy_here, tiny_onnx, promote=True)

    found = registration(made.path)
    assert found is not None
    assert (found.name, found.version) == ("toy-model", "1")
    assert found.aliases == ["challenger", "champion"]


def test_the_artefact_names_no_run_and_no_version(toy_here: Toy, tiny_onnx: Onnx) -> None:
    made = run_register(toy_here, tiny_onnx, promote=True)

    record = read_record(toy_here.root, "toy")
    assert record is not None
    text = (made.path / "manifest.json").read_text(encoding="utf-8")
    assert str(record.mlflow_run_id) not in text
    assert "version" not in made.facts
    assert set(made.facts) == {"name", "aliases", "ship", "promote", "model.sha256"}
