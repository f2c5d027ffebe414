"""What `tuneline show` prints, and its schema."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from toy_project import Toy

from flows.record import Registered, read_record, record_file
from flows.show import show
from flows.summary import LineFacts, gather

SCHEMA = Path(__file__).parents[2] / "docs" / "show.schema.json"


@pytest.fixture
def made(made: Toy) -> Toy:
    """A toy project after a whole `dvc repro`, with a version in the registry."""
    record = read_record(made.root, "toy")
    assert record is not None
    record.registration = Registered(name="toy-model", version="3", aliases=["champion"])
    record_file(made.root, "toy").write_text(record.model_dump_json(), encoding="utf-8")
    return made


def printed(toy: Toy, *, details: bool) -> str:
    console = Console(width=200, record=True, file=(toy.root / "shown.txt").open("w"))
    show(gather(toy.root, "toy"), console, details=details)
    return console.export_text()


def test_the_schema_in_the_documents_is_the_schema_of_the_code() -> None:
    """To renew it: python -m flows.summary > docs/show.schema.json"""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == LineFacts.model_json_schema(
        mode="serialization"
    )


def test_every_fact_is_printed_as_json(made: Toy) -> None:
    done = made.run("python", "-m", "flows.cli", "show", "toy", "--json")

    assert done.returncode == 0, done.stderr
    facts = LineFacts.model_validate_json(done.stdout)
    assert facts == gather(made.root, "toy")
    assert facts.run is not None
    assert facts.run.stages["train"].outcome == "ran"
    assert facts.models["tuned"].accuracy == 0.9
    assert facts.models["int8"].bytes == 1_000_000
    assert facts.artefacts["adapter"].stage == "train"


def test_the_table_holds_every_model_with_its_interval(made: Toy) -> None:
    text = printed(made, details=False)

    assert "0.500" in text
    assert "0.800 … 0.950" in text
    assert "int8 (shipped)" in text
    assert "verdict: int8 may become champion" in text
    assert "✓ 100 held-out items" in text
    assert "toy-model version 3 (champion)" in text
    assert 'mlflow.pyfunc.load_model("models:/toy-model@champion")' in text


def test_speed_stands_there_once_it_was_measured(made: Toy) -> None:
    file = made.root / ".tuneline/scratch/toy/speed.json"
    speeds = {"torch": {"decode_tokens_per_s": 11.0}, "int8": {"decode_tokens_per_s": 77.0}}
    file.write_text(json.dumps(speeds), encoding="utf-8")

    models = gather(made.root, "toy").models
    assert models["int8"].tokens_per_second == 77.0
    assert models["tuned"].tokens_per_second == 11.0
    assert models["base"].tokens_per_second is None


def test_details_add_stages_and_hashes(made: Toy) -> None:
    facts = gather(made.root, "toy")
    text = printed(made, details=True)

    for artefact in facts.artefacts.values():
        assert artefact.manifest_sha256[:16] in text
    assert "this one" in text


def test_nothing_to_show_says_what_to_do(toy: Toy) -> None:
    done = toy.run("python", "-m", "flows.cli", "show", "toy")

    assert done.returncode == 2
    assert "tuneline run toy" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_with_nothing_to_do_says_so_without_prefect_or_mlflow(made: Toy) -> None:
    done = made.run("python", "-X", "importtime", "-m", "flows.cli", "run", "toy")

    assert done.returncode == 0, done.stderr
    assert "nothing has changed" in done.stdout
    assert "int8 (shipped)" in done.stdout
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"prefect", "mlflow", "torch", "transformers"}


def test_a_command_outside_a_project_says_so(tmp_path: Path, made: Toy) -> None:
    done = Toy(tmp_path).run("python", "-m", "flows.cli", "show", "toy")

    assert done.returncode == 2
    assert "no project here" in done.stderr


def test_an_unknown_stage_to_force_is_told(made: Toy) -> None:
    done = made.run("python", "-m", "flows.cli", "run", "toy", "--force", "evalute")

    assert done.returncode == 2
    assert "did you mean 'evaluate'?" in done.stderr
