"""Plain text through every step: learned whole, judged by its bits per byte."""

from pathlib import Path

import pytest
from made_recipes import made_recipe, text_rows
from tests_line import Line, run_line


@pytest.fixture(scope="module")
def text_line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    root = tmp_path_factory.mktemp("text")
    recipe = made_recipe(
        root,
        "texts",
        text_rows(110),
        format={"kind": "text", "text": "text"},
        training={
            "learning_rate": 1e-2,
            "num_train_epochs": 3,
            "per_device_train_batch_size": 8,
            "eval_steps": 20,
            "bf16": False,
        },
    )
    return run_line(root, recipe)


def test_the_gate_judges_plain_text_by_its_bits_per_byte(text_line: Line) -> None:
    verdict = text_line["verdict"].facts
    assert verdict["judged_by"] == "text"
    assert verdict["promote"], verdict["reasons"]
    gain = verdict["against_base"]
    models = text_line["evaluation"].facts["models"]
    assert gain["reference_bits_per_byte"] == pytest.approx(models["base"]["bits_per_byte"])
    assert gain["interval"][1] < -1.0, "random weights know nothing of the made-up sentences"
    shipped = text_line["verification"].facts["variants"]["int8"]["metrics"]
    assert gain["model_bits_per_byte"] == pytest.approx(shipped["bits_per_byte"])
    better = next(r for r in verdict["reasons"] if r["check"] == "better_than_base")
    assert "bits per byte" in better["text"]
    assert "documents" in better["text"]


def test_the_exported_file_reads_text_as_torch_does(text_line: Line) -> None:
    parity = text_line["verification"].facts["parity"]
    assert parity["passed"]
    assert parity["prompts"] == 4
    tuned = text_line["evaluation"].facts["models"]["tuned"]
    fp32 = text_line["verification"].facts["variants"]["fp32"]["metrics"]
    assert fp32["perplexity"] == pytest.approx(tuned["perplexity"], rel=1e-4)


def test_the_report_shows_texts(text_line: Line) -> None:
    folder: Path = text_line["report"].path
    assert "bits per byte" in (folder / "report.html").read_text()
    assert "| – | – | – |" in (folder / "model_card.md").read_text()
