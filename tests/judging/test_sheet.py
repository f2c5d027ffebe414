"""Where the answers come from: label words, tasks, or generated once and kept."""

import json
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_sheet import label_row, made_line

from components.contracts.artefacts import Artefact
from components.contracts.errors import ArtefactError, DataError, RecipeError
from components.contracts.events import Context, Heard
from components.contracts.kinds import (
    Adapter,
    BaseModelFolder,
    Dataset,
    Evaluation,
    Onnx,
    Tokens,
    Verification,
)
from components.contracts.tables import dataset_schema
from components.judging.line import Line
from components.judging.ratings import rated
from components.judging.sheet import Wish, make_sheet
from components.scoring.requests import Answer, Plan, Request, write_answers, write_requests
from components.scoring.tables import read_items

LABELS = Wish(("base", "int8"), samples=6)


def test_label_words_that_differ_are_asked_and_the_others_counted(
    tmp_path: Path, context: Context
) -> None:
    sheet = make_sheet(made_line(tmp_path / "data"), LABELS, tmp_path / "sheet", context)
    assert (sheet.facts["items"], sheet.facts["same"], len(sheet.pairs)) == (24, 8, 6)
    assert sheet.facts["answers"] == "labels"
    for pair in sheet.pairs:
        assert pair.answers["base"] != pair.answers["int8"]
        assert [turn["role"] for turn in pair.prompt] == ["system", "user"]
        assert "<b>&amp;</b>" in pair.prompt[1]["content"]


def test_ratings_stay_with_their_answers_when_the_models_are_made_again(
    tmp_path: Path, context: Context
) -> None:
    line = made_line(tmp_path / "data")
    sheet = make_sheet(line, LABELS, tmp_path / "sheet", context)
    sheet.add([rated(pair, "ann", ("base", "int8"), "int8") for pair in sheet.pairs])
    fewer = made_line(tmp_path / "data", count=23)  # other bytes, most answers as before
    again = make_sheet(fewer, LABELS, tmp_path / "sheet", context)
    assert again.facts["made_from"] != sheet.facts["made_from"]
    found = again.write_result()
    kept = {p.key for p in sheet.pairs} & {p.key for p in again.pairs}
    assert found["ratings"] == len(kept) >= 5
    assert found["ratings"] + found["other"] == 6


def test_a_sheet_of_the_same_answers_is_not_made_again(tmp_path: Path, context: Context) -> None:
    line = made_line(tmp_path / "data")
    make_sheet(line, LABELS, tmp_path / "sheet", context)
    before = (tmp_path / "sheet" / "pairs.jsonl").stat().st_mtime_ns
    make_sheet(Line(tmp_path / "data"), LABELS, tmp_path / "sheet", context)
    assert (tmp_path / "sheet" / "pairs.jsonl").stat().st_mtime_ns == before


def test_what_cannot_be_judged_is_said(tmp_path: Path, context: Context) -> None:
    line = made_line(tmp_path / "data")
    with pytest.raises(RecipeError, match="'int9' is not known; did you mean 'int8'"):
        make_sheet(line, Wish(("base", "int9")), tmp_path / "s", context)
    with pytest.raises(RecipeError, match="both models are 'base'"):
        make_sheet(line, Wish(("base", "base")), tmp_path / "s", context)
    with pytest.raises(DataError, match="same answer to all 24 items"):
        make_sheet(line, Wish(("tuned", "int8")), tmp_path / "s", context)
    with pytest.raises(RecipeError, match="no task"):
        make_sheet(line, Wish(("base", "int8"), task="qa"), tmp_path / "s", context)
    with pytest.raises(ArtefactError, match="not a whole artefact"):
        make_sheet(Line(tmp_path), Wish(("base", "int8")), tmp_path / "s", context)
    assert not (tmp_path / "s").exists()


@pytest.fixture
def free_line(
    tmp_path: Path,
    tiny_base: BaseModelFolder,
    tiny_adapter: Adapter,
    tiny_tokens: Tokens,
    tiny_onnx: Onnx,
) -> Line:
    """The tiny models and rows with free answers, which evaluation has not generated."""
    folder = tmp_path / "data"
    folder.mkdir()
    given: list[Artefact] = [tiny_base, tiny_adapter, tiny_tokens, tiny_onnx]
    for artefact in given:
        (folder / artefact.kind).symlink_to(artefact.path)
    rows = [{**label_row(n), "id": f"test-{n}", "choices": []} for n in range(24)]
    with Dataset.write(folder / "dataset") as draft:
        table = pa.Table.from_pylist(rows, schema=dataset_schema())
        pq.write_table(table, draft.folder / "test.parquet")
    with Evaluation.write(folder / "evaluation") as draft:
        items = {"split": "test", "limit": None, "texts": 0, "count": 24}
        draft.facts = {"items": items, "models": {"base": {}, "tuned": {}}}
        add_task(draft.folder / "tasks" / "qa", draft.facts, tiny_tokens)
    with Verification.write(folder / "verification") as draft:
        draft.facts = {"variants": {name: {} for name in tiny_onnx.variants}}
        (draft.folder / "tasks" / "qa").mkdir(parents=True)
        answers = [Answer(f"q{n}", {"f1": (1.0, 1.0)}, text=f"new {n % 4}") for n in range(8)]
        write_answers(draft.folder / "tasks" / "qa" / "int8.parquet", answers, ("f1",))
    return Line(folder)


def add_task(folder: Path, facts: dict[str, object], tokens: Tokens) -> None:
    """Write a task's requests, and what the base answered, into an evaluation."""
    folder.mkdir(parents=True)
    prompts = [item.prompt for item in read_items(tokens, "test", 8)]
    write_requests(
        folder / "requests.parquet", [Request(f"q{n}", ids) for n, ids in enumerate(prompts)]
    )
    answers = [Answer(f"q{n}", {"f1": (0.0, 1.0)}, text=f"new {n % 4}"[n % 2 :]) for n in range(8)]
    write_answers(folder / "base.parquet", answers, ("f1",))
    plan = Plan("qa", "question_answering", 1, "generation", ("f1",))
    facts |= {"tasks": {"qa": {"plan": plan.facts()}}, "task_names": ["qa"]}


def test_answers_to_a_task_are_read_from_the_artefacts(free_line: Line, context: Context) -> None:
    wish = Wish(("base", "int8"), task="qa")
    sheet = make_sheet(free_line, wish, context.root / "sheet", context)
    assert wish.name == "base-vs-int8.qa"
    assert (sheet.facts["items"], sheet.facts["same"]) == (8, 4)
    assert sheet.facts["answers"] == "task"
    assert all(pair.answers["int8"].startswith("new ") for pair in sheet.pairs)
    assert all(pair.prompt[0]["content"] for pair in sheet.pairs)
    with pytest.raises(RecipeError, match=r"task 'ga' is not known\s+→ use one of: qa"):
        make_sheet(free_line, Wish(("base", "int8"), task="ga"), context.root / "s", context)


def test_free_answers_are_generated_once_and_kept(free_line: Line, context: Context) -> None:
    wish = Wish(("base", "int8"), samples=5, max_new_tokens=6)
    sheet = make_sheet(free_line, wish, context.root / "sheet", context)
    assert sheet.facts["answers"] == "generated"
    assert len(sheet.pairs) == 5
    assert set(sheet.facts["made_from"]) == {"tokens", "base", "onnx"}
    heard = context.events
    assert isinstance(heard, Heard)
    told = len(heard.marks)
    assert told >= 10

    # a larger sample generates only what is missing, and the same five come first
    more = make_sheet(
        free_line, Wish(("base", "int8"), None, 8, 0, 6), context.root / "s2", context
    )
    assert more.pairs[:5] == sheet.pairs
    kept = [json.loads(row) for row in (context.scratch / "answers-base.jsonl").open()]
    assert len({row["item"] for row in kept}) == len(kept)


def test_a_generated_answer_is_the_greedy_one(free_line: Line, context: Context) -> None:
    from components.judging.generated import open_model
    from components.runtime.generate import Generation, generate
    from components.scoring.voice import load_voice

    wish = Wish(("tuned", "fp32"), samples=3, max_new_tokens=4)
    with suppress(DataError):  # fp32 in ONNX Runtime says what torch says: nothing to judge
        make_sheet(free_line, wish, context.root / "sheet", context)
    voice = load_voice(free_line.base.model)
    items = {item.id: item for item in read_items(free_line.tokens, "test", None)}
    model = open_model(free_line, "fp32")
    for row in map(json.loads, (context.scratch / "answers-fp32.jsonl").open()):
        ids = generate(model, items[row["item"]].prompt, Generation(4), voice.stop_ids)
        assert row["text"] == voice.decode(list(ids)).strip()
