"""Prompt, answer, labels and ledger of every kind of row."""

from typing import Any

import pyarrow.parquet as pq
import pytest
from made_rows import chat, labelled, plain

from components.contracts.errors import DataError, ModelError
from components.contracts.events import Context, Heard
from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.tables import IGNORED, tokens_schema
from components.tokenization import batches
from components.tokenization.tokenizer import load_tokenizer

BOS, EOS = 1, 2


def lines(tokens: Tokens, split: str = "train") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(tokens.split(split)).to_pylist()
    return rows


def text_of(base: BaseModelFolder, ids: list[int]) -> str:
    return load_tokenizer(base.model).decode(ids)


def test_only_the_answer_and_its_end_are_trained(run: Any, tiny_base: BaseModelFolder) -> None:
    (line,) = lines(run([labelled("fine, thanks", system="Say.")]))
    prompt = "<|im_start|>system\nSay.<|im_end|>\n<|im_start|>user\nfine, thanks<|im_end|>\n"
    prompt += "<|im_start|>assistant\n"
    n = line["prompt_tokens"]
    assert text_of(tiny_base, line["input_ids"][:n]) == prompt
    assert text_of(tiny_base, line["input_ids"][n:]) == "good<|im_end|>"  # no newline of ChatML
    assert line["labels"] == [IGNORED] * n + line["input_ids"][n:]
    assert line["trained_tokens"] == len("good") + 1
    assert line["length"] == len(line["input_ids"]) == n + 5
    assert line["eos_trained"] is True
    assert line["truncated_tokens"] == 0


def test_end_of_sequence_is_trained_though_padding_is_the_same_token(
    run: Any, tiny_base: BaseModelFolder
) -> None:
    tokenizer = load_tokenizer(tiny_base.model)
    assert tokenizer.tokens.pad == tokenizer.tokens.eos == EOS
    (line,) = lines(run([labelled("x")]))
    assert line["labels"][-1] == EOS
    # The same token ends the user's turn, where it is not trained.
    assert line["labels"][line["input_ids"].index(EOS)] == IGNORED


def test_prompt_ids_are_those_of_inference(run: Any, tiny_base: BaseModelFolder) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_base.model)
    (line,) = lines(run([labelled("Hé 你好  <|im_end|>?", system="s")]))
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "Hé 你好  <|im_end|>?"},
    ]
    wanted = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    wanted = wanted if isinstance(wanted, list) else wanted["input_ids"]
    assert line["input_ids"][: line["prompt_tokens"]] == wanted


def test_choices_are_the_answer_without_its_end(run: Any) -> None:
    good, bad = lines(run([labelled("a", 1), labelled("b", 0)]))
    assert good["choice_ids"] == bad["choice_ids"]
    assert good["answer_ids"] == [*good["choice_ids"][1], EOS]
    assert bad["answer_ids"] == [*bad["choice_ids"][0], EOS]
    assert (good["target"], bad["target"]) == (1, 0)


def test_the_text_of_a_scored_row_goes_without_template(
    run: Any, tiny_base: BaseModelFolder
) -> None:
    tokens = run([labelled("naïve")], [labelled("naïve")])
    (scored,), (trained,) = lines(tokens, "test"), lines(tokens)
    assert text_of(tiny_base, scored["text_ids"]) == "naïve"
    assert trained["text_ids"] == []
    assert scored["text_bytes"] == trained["text_bytes"] == 6
    assert trained["input_ids"] == scored["input_ids"]


def test_a_conversation_trains_every_answer_with_its_end(
    run: Any, tiny_base: BaseModelFolder
) -> None:
    (line,) = lines(run([chat("one", "1", "two", "2")]))
    trained = [token for token in line["labels"] if token != IGNORED]
    assert text_of(tiny_base, trained) == "1<|im_end|>2<|im_end|>"
    assert (line["answers"], line["trained_answers"]) == (2, 2)
    spans = line["answer_spans"]
    pieces = [line["input_ids"][a:b] for a, b in zip(spans[::2], spans[1::2], strict=True)]
    assert [text_of(tiny_base, ids) for ids in pieces] == ["1<|im_end|>", "2<|im_end|>"]
    assert line["eos_trained"]
    assert line["choice_ids"] == []
    assert line["target"] == -1


def test_the_last_answer_alone_can_be_trained(run: Any, tiny_base: BaseModelFolder) -> None:
    (line,) = lines(run([chat("one", "1", "two", "2")], completion_only_loss=True))
    trained = [token for token in line["labels"] if token != IGNORED]
    assert text_of(tiny_base, trained) == "2<|im_end|>"
    assert (line["answers"], line["trained_answers"]) == (2, 1)


def test_the_whole_conversation_can_be_trained(run: Any) -> None:
    (line,) = lines(run([labelled("x")], assistant_only_loss=False))
    assert line["labels"] == [IGNORED, *line["input_ids"][1:]]
    assert line["prompt_tokens"] == line["length"] - 5


def test_plain_text_is_trained_whole_and_ends(run: Any, tiny_base: BaseModelFolder) -> None:
    (line,) = lines(run([plain("abc")]))
    assert text_of(tiny_base, line["input_ids"]) == "abc<|im_end|>"
    assert line["labels"] == [IGNORED, *line["input_ids"][1:]]
    assert line["prompt_tokens"] == 0
    assert line["answer_ids"] == []
    assert line["eos_trained"] is True


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_split_has_its_table(run: Any, split: str) -> None:
    tokens = run([labelled("a"), labelled("b")], [labelled("c")])
    assert pq.read_schema(tokens.split(split)).equals(tokens_schema())
    assert len(lines(tokens, split)) == {"train": 2, "validation": 0, "test": 1}[split]


def test_a_long_row_stops_the_line_by_name(run: Any, context: Context) -> None:
    with pytest.raises(DataError) as error:
        run([labelled("short"), labelled("long " * 30)], max_length=60)
    assert "longer than max_length (60 tokens): 1 row: demo.csv:2 (" in str(error.value)
    assert "set tokenization.max_length to " in str(error.value.fix)
    assert not (context.root / "tokens").exists()


def test_long_rows_can_be_dropped_and_are_counted(run: Any) -> None:
    rows = [labelled("short"), labelled("long " * 30)]
    tokens = run(rows, rows, max_length=60, truncation="drop")
    assert [line["id"] for line in lines(tokens)] == ["id1"]
    assert tokens.facts["splits"]["train"]["dropped_rows"] == 1
    assert tokens.facts["dropped"] == {"rows": 2, "first": ["demo.csv:2", "demo.csv:4"]}


def test_rows_in_are_rows_of_the_splits_and_of_the_quarantine(run: Any) -> None:
    rows = [labelled(f"row {n} " * (n % 9)) for n in range(30)]
    tokens = run(rows, rows, max_length=60, truncation="drop")
    kept = [line["id"] for split in ("train", "test") for line in lines(tokens, split)]
    gone = pq.read_table(tokens.quarantine).to_pylist()
    assert 0 < len(gone) < len(kept)
    assert len(kept) + len(gone) == 60
    assert {f"id{line['row']}" for line in gone} | set(kept) == {f"id{n}" for n in range(1, 61)}
    assert gone[0]["source"] == "demo.csv"
    assert gone[0]["text"] == rows[gone[0]["row"] - 1]["text"]
    assert (gone[0]["split"], gone[-1]["split"]) == ("train", "test")
    assert (gone[0]["expectation"], gone[0]["severity"]) == ("max_length", "quarantine")
    assert all(int(line["value"].removesuffix(" tokens")) > 60 for line in gone)
    assert not run(rows, max_length=600).quarantine.exists(), "nothing is ever left out there"


def test_the_rejected_answer_of_a_preference_row_ends_too(
    run: Any, tiny_base: BaseModelFolder
) -> None:
    first, second = lines(run([labelled("a") | {"rejected": "worse"}, labelled("b")]))
    assert text_of(tiny_base, first["rejected_ids"]) == "worse<|im_end|>"
    assert text_of(tiny_base, first["answer_ids"]) == "good<|im_end|>"
    assert second["rejected_ids"] == []


def test_both_answers_of_a_preference_row_share_a_cut_prompt(run: Any) -> None:
    rows = [labelled("long " * 30) | {"rejected": "r" * 20}]
    (line,) = lines(run(rows, max_length=60, truncation="truncate_prompt"))
    assert line["prompt_tokens"] + len(line["rejected_ids"]) == 60
    assert line["length"] == line["prompt_tokens"] + len(line["answer_ids"]) < 60


def test_a_rejected_answer_that_is_too_long_drops_or_stops(run: Any) -> None:
    rows = [labelled("a"), labelled("b") | {"rejected": "r" * 60}]
    assert len(lines(run(rows, max_length=60, truncation="drop"))) == 1
    with pytest.raises(DataError, match=r"longer than max_length \(60 tokens\): 1 row: demo.csv:2"):
        run(rows, max_length=60)


def test_the_summary_tells_what_was_cut_and_dropped(run: Any, context: Context) -> None:
    rows = [labelled("short"), labelled("long " * 30)]
    facts = run(rows, rows[:1], max_length=60, truncation="drop").facts
    assert [row["row"] for row in facts["longest"]] == ["demo.csv:1", "demo.csv:3"]
    assert facts["splits"]["train"]["dropped_tokens"] > 150
    heard = context.events
    assert isinstance(heard, Heard)
    assert [line.split() for line in heard.notes[:2]] == [
        ["split", "rows", "tokens", "trained", "truncated", "dropped"],
        ["train", "1", str(facts["splits"]["train"]["tokens"]), "5", "0", "1"],
    ]
    assert "dropped for their length: 1, first: demo.csv:2" in heard.notes
    run(rows, max_length=60, truncation="truncate_prompt")
    assert any("1 rows were cut by" in note for note in heard.notes)


def test_rows_in_many_batches_are_those_of_one(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [labelled(f"row {n} " * (n % 7)) for n in range(40)]
    whole = lines(run(rows))
    monkeypatch.setattr(batches, "BYTES", 500)
    monkeypatch.setattr(batches, "ROWS", 9)
    assert lines(run(rows)) == whole
    dropped = lines(run(rows, max_length=60, truncation="drop"))
    assert dropped == [line for line in whole if line["length"] <= 60]
    assert 0 < len(dropped) < 40


def test_nothing_left_to_train_on_is_an_error(run: Any) -> None:
    with pytest.raises(DataError, match="no row is left to train on"):
        run([labelled("long " * 30)], max_length=60, truncation="drop")


def test_a_prompt_can_be_cut_but_its_end_stays(run: Any, tiny_base: BaseModelFolder) -> None:
    rows = [labelled("long " * 30 + "end")]
    whole = lines(run(rows))[0]
    tokens = run(rows, max_length=60, truncation="truncate_prompt")
    line = lines(tokens)[0]
    assert line["length"] == 60
    assert line["truncated_tokens"] == whole["length"] - 60
    assert line["answer_ids"] == whole["answer_ids"] == line["input_ids"][-5:]
    prompt = text_of(tiny_base, line["input_ids"][: line["prompt_tokens"]])
    assert prompt.endswith("long end<|im_end|>\n<|im_start|>assistant\n")
    assert tokens.facts["truncated_rows"] == 1


def test_an_answer_is_never_cut(run: Any) -> None:
    with pytest.raises(DataError, match="answer alone would be cut at 20 tokens: 1 row: demo"):
        run([chat("q", "a" * 40)], max_length=20, truncation="truncate_prompt")


def test_plain_text_is_cut_at_its_end_and_then_does_not_end(run: Any) -> None:
    (line,) = lines(run([plain("abcdef")], max_length=4, truncation="truncate_prompt"))
    assert line["length"] == 4
    assert line["truncated_tokens"] == 3
    assert line["eos_trained"] is False


def test_the_same_rows_give_the_same_bytes(run: Any) -> None:
    rows = [labelled(f"row {n}") for n in range(5)]
    assert run(rows, rows).digest == run(rows, rows).digest


def test_facts_count_tokens_and_show_rows_with_the_trained_part_marked(run: Any) -> None:
    facts = run([labelled("a"), labelled("bb")], [labelled("c")]).facts
    train = facts["splits"]["train"]
    assert train["rows"] == 2
    assert train["trained_tokens"] == 9 + 1  # good twice, each with its end
    assert train["tokens"] == 2 * facts["length"]["min"] + 1
    assert facts["shown"][0] == {
        "row": "demo.csv:1",
        "text": "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n⟦good<|im_end|>⟧",
    }
    assert (facts["bos_token"], facts["eos_token"], facts["pad_token"]) == (BOS, EOS, EOS)


def test_text_is_scored_after_end_of_text_unless_told_otherwise(run: Any) -> None:
    assert run([labelled("a")]).facts["prefix_token"] == 0
    assert run([labelled("a")], prefix_token="<|im_start|>").facts["prefix_token"] == BOS
    with pytest.raises(ModelError, match=r"did you mean '<\|im_start\|>'"):
        run([labelled("a")], prefix_token="<|im_stort|>")


def test_rows_longer_than_the_model_reads_are_refused_at_once(run: Any) -> None:
    with pytest.raises(ModelError, match="reads at most 2048 tokens"):
        run([labelled("a")], max_length=4096)
