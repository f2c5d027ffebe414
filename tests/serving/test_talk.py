"""`tuneline generate` and `tuneline chat` on a real registry with tiny models."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.contracts.errors import ModelError
from components.contracts.kinds import Onnx
from components.runtime.shape import Shape
from components.runtime.text import TextModel
from flows.cli import app
from flows.model_ref import Reference, find_model, in_folder, parse_reference

SYSTEM = {"role": "system", "content": "good, fair or poor?"}


def ask(*words: str, stdin: str | None = None) -> Any:
    return CliRunner().invoke(app, list(words), input=stdin)


def answer(*words: str, stdin: str | None = None) -> dict[str, Any]:
    done = ask("generate", *words, "--json", stdin=stdin)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("models:/mood@champion", Reference("mood", None, "champion")),
        ("mood@challenger", Reference("mood", None, "challenger")),
        ("mood", Reference("mood", None, "champion")),
        ("mood/3", Reference("mood", "3")),
        ("mood@3", Reference("mood", "3")),
        ("models:/mood/12", Reference("mood", "12")),
    ],
)
def test_models_have_many_names(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


def test_what_names_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a folder nor a model"):
        parse_reference("./nowhere/at/all")
    (tmp_path / "int8").mkdir()
    (tmp_path / "int8" / "genai_config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no exported model") as caught:
        in_folder(tmp_path)
    assert "int8" in str(caught.value.fix)
    with pytest.raises(ModelError, match="no project here"):
        find_model(None, "mood@champion")


@pytest.mark.parametrize(
    ("name", "fault", "fix"),
    [
        ("tinny@champion", "did you mean 'tiny'", "texts, tiny"),
        ("tiny@champoin", "did you mean 'champion'", "@challenger, @champion, /1, /2"),
        ("tiny/9", "no tiny/9", "/1, /2"),
    ],
)
def test_what_the_registry_lacks_is_told(project: Path, name: str, fault: str, fix: str) -> None:
    with pytest.raises(ModelError, match=fault) as caught:
        find_model(project, name)
    assert fix in str(caught.value.fix)


def test_an_answer_is_that_of_the_registered_files(project: Path, tiny_onnx: Onnx) -> None:
    found = answer("tiny@champion", "so good", "--max-new-tokens", "6")
    model = TextModel(tiny_onnx.variant("fp32"))
    asked = [SYSTEM, {"role": "user", "content": "so good"}]
    assert found["answer"] == model.answer(asked, max_new_tokens=6)
    assert (found["model"], found["version"], found["device"]) == ("tiny", "1", "cpu")
    assert found["usage"] == {
        "prompt_tokens": len(model.prompt_ids(asked)),
        "completion_tokens": 6,
    }
    assert found["finish_reason"] == "length"
    assert answer("tiny/2", "so good", "--max-new-tokens", "6")["answer"] != found["answer"]
    assert (
        answer("tiny", stdin="so good\n")["usage"]["prompt_tokens"]
        == (found["usage"]["prompt_tokens"])
    )


def test_it_streams_what_json_tells(project: Path) -> None:
    words = ("tiny@champion", "so good", "--temperature", "0.9", "--seed", "5", "--top-k", "20")
    plain = ask("generate", *words, "--max-new-tokens", "12")
    assert plain.stdout == answer(*words, "--max-new-tokens", "12")["answer"] + "\n"


def test_a_stop_text_ends_the_answer(project: Path) -> None:
    free = answer("tiny@champion", "so good", "--max-new-tokens", "12")["answer"]
    stop = free[3:5]
    cut = answer("tiny@champion", "so good", "--max-new-tokens", "12", "--stop", stop)
    assert cut["answer"] == free[: free.index(stop)]
    assert cut["finish_reason"] == "stop"


def test_a_model_of_plain_text_goes_on_from_the_text(project: Path, tiny_onnx: Onnx) -> None:
    found = answer("texts@champion", "Once upon", "--max-new-tokens", "6")
    model = TextModel(tiny_onnx.variant("fp32"))
    assert found["answer"] == model.answer("Once upon", max_new_tokens=6)
    assert found["usage"]["prompt_tokens"] == len(model.prompt_ids("Once upon"))
    done = ask("generate", "texts@champion", "Once", "--system", "Brief.")
    assert isinstance(done.exception, ModelError)


def test_chat_answers_line_by_line(project: Path, tiny_onnx: Onnx) -> None:
    lines = "so good\n\n/set temperature 0\nso good\n/nonsense"
    done = ask("chat", "tiny@champion", "--max-new-tokens", "5", stdin=lines)
    model = TextModel(tiny_onnx.variant("fp32"))
    alone = model.answer([SYSTEM, {"role": "user", "content": "so good"}], max_new_tokens=5)
    assert done.stdout == f"{alone}\n{alone}\n", "rows of one turn: nothing stands before"
    assert "temperature is 0" in done.stderr
    assert isinstance(done.exception, ModelError)


def test_chat_keeps_the_earlier_turns_where_rows_had_them(project: Path, tiny_onnx: Onnx) -> None:
    done = ask(
        "chat", "tiny@champion", "--history", "--max-new-tokens", "5", stdin="so good\nand\n"
    )
    model = TextModel(tiny_onnx.variant("fp32"))
    turns = [SYSTEM, {"role": "user", "content": "so good"}]
    first = model.answer(turns, max_new_tokens=5)
    turns += [{"role": "assistant", "content": first}, {"role": "user", "content": "and"}]
    assert done.stdout == f"{first}\n{model.answer(turns, max_new_tokens=5)}\n"
    forgotten = ask(
        "chat",
        "tiny@champion",
        "--history",
        "--max-new-tokens",
        "5",
        stdin="so good\n/reset\nso good\n",
    )
    assert forgotten.stdout == f"{first}\n{first}\n"
    refused = ask("chat", "texts@champion", "--history", stdin="x\n")
    assert isinstance(refused.exception, ModelError)


def test_changed_files_are_not_used(project: Path, tmp_path: Path) -> None:
    from flows.store import client

    found = find_model(project, "tiny@champion")
    file = found.folder / "genai_config.json"
    before = file.read_bytes()
    file.write_bytes(before + b" ")
    try:
        with pytest.raises(ModelError, match="not those that were registered"):
            find_model(project, "tiny@champion")
    finally:
        file.write_bytes(before)
    assert client().get_model_version("tiny", "1").tags["model.sha256"]


def test_a_variant_of_the_line_is_asked_as_its_dataset_says(
    tmp_path: Path, tiny_onnx: Onnx
) -> None:
    import shutil

    from components.contracts.kinds import Dataset

    shutil.copytree(tiny_onnx.path, tmp_path / "onnx")
    assert in_folder(tmp_path / "onnx" / "fp32").shape == Shape()
    with Dataset.write(tmp_path / "dataset") as draft:
        draft.facts = {"format": {"kind": "text", "text": "text"}}
    assert in_folder(tmp_path / "onnx" / "fp32").shape.plain
    with Dataset.write(tmp_path / "dataset") as draft:
        label = {"column": "label", "names": ["good", "poor"]}
        draft.facts = {"format": {"kind": "classification", "label": label, "system": "s"}}
    shape = in_folder(tmp_path / "onnx" / "fp32").shape
    assert shape == Shape("s", "{text}", False, ("good", "poor"), True)
