"""What validation keeps, quarantines and refuses, each with its row and reason."""

import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.contracts.errors import DataError
from components.contracts.events import Context
from components.contracts.kinds import Dataset
from components.contracts.tables import dataset_schema
from components.validation.identity import SPLITS

CLEAN = [{"text": f"row number {n}", "label": ("bad", "good")[n % 2]} for n in range(60)]


def kept(dataset: Dataset) -> dict[int, dict[str, Any]]:
    """Rows by their number in the source."""
    return {
        row["row"]: row
        for split in SPLITS
        for row in pq.read_table(dataset.split(split)).to_pylist()
    }


def taken(dataset: Dataset) -> list[tuple[int, str, str]]:
    rows = pq.read_table(dataset.quarantine).to_pylist()
    return [(row["row"], row["expectation"], row["value"]) for row in rows]


def test_clean_rows_all_stay_with_their_conversation(run: Any) -> None:
    dataset = run(CLEAN)
    rows = kept(dataset)
    assert sorted(rows) == list(range(1, 61))
    assert pq.read_schema(dataset.split("train")).equals(dataset_schema())
    second = rows[2]
    assert (second["source"], second["text"], second["answer"]) == (
        "demo.jsonl",
        "row number 1",
        "good",
    )
    assert json.loads(second["messages"])[-1] == {"role": "assistant", "content": "good"}
    assert second["choices"][second["target"]] == "good"
    assert len({row["id"] for row in rows.values()}) == 60
    assert taken(dataset) == []


@pytest.mark.parametrize(
    ("row", "expectation", "value"),
    [
        ({"text": None, "label": "good"}, "not_null", "null"),
        ({"label": "good"}, "not_null", "null"),
        ({"text": "new", "label": None}, "not_null", "null"),
        ({"text": "  ", "label": "good"}, "not_empty", ""),
        ({"text": "caf\ufffd", "label": "good"}, "encoding", "U+FFFD"),
        ({"text": "it\x92s", "label": "good"}, "encoding", "C1 control U+0092"),
        ({"text": " ROW  number 3", "label": "good"}, "duplicate", "demo.jsonl:4"),
    ],
)
def test_a_bad_row_is_quarantined_under_its_reason(
    run: Any, row: dict[str, Any], expectation: str, value: str
) -> None:
    dataset = run([*CLEAN, row])
    assert taken(dataset) == [(61, expectation, value)]
    assert sorted(kept(dataset)) == list(range(1, 61))
    assert dataset.facts["quarantined"] == {expectation: 1}


def test_all_rows_of_a_label_conflict_go(run: Any) -> None:
    dataset = run([*CLEAN, {"text": "Row number 3", "label": "bad"}])
    assert taken(dataset) == [
        (4, "label_conflict", "bad, good"),
        (61, "label_conflict", "bad, good"),
    ]


def test_rows_in_are_rows_kept_and_quarantined_whatever_is_wrong(run: Any) -> None:
    faults = [
        {"text": None, "label": None},
        {"text": "", "label": "good"},
        {"text": "", "label": "bad"},
        {"text": "row number 5", "label": "bad"},
        {"text": "row number 6", "label": "bad"},
        {"text": "row number 6", "label": "bad"},
        {"text": "odd \ufffd", "label": "worse"},
        {"text": "odd", "label": "worse"},
    ]
    dataset = run([*CLEAN, *faults], severity={"label": "quarantine"}, max_quarantined_share=0.5)
    numbers = [*kept(dataset), *(row for row, _, _ in taken(dataset))]
    assert sorted(numbers) == list(range(1, 69))
    count = dataset.facts["rows"]
    assert count == {"in": 68, "kept": 59, "quarantined": 9}
    assert sum(dataset.facts["quarantined"].values()) == 9
    assert sum(dataset.facts["splits"].values()) == 59


def test_entities_are_unescaped_before_the_messages_are_made(run: Any) -> None:
    dataset = run([{"text": "a &amp;amp; b &lt;3", "label": "good"}, *CLEAN], unescape_html=True)
    row = kept(dataset)[1]
    assert row["text"] == "a & b <3"
    assert "a & b <3" in row["messages"]
    assert dataset.facts["html_entities"] == 1
    assert dataset.facts["cleaned"]["examples"] == [
        {"row": "demo.jsonl:1", "before": "a &amp;amp; b &lt;3", "after": "a & b <3"}
    ]


def test_entities_left_in_are_a_warning(run: Any) -> None:
    rows = [{"text": "a &amp; b, AT&T; c & d", "label": "good"}, *CLEAN]
    dataset = run(rows, near_duplicate_threshold=None)
    assert dataset.facts["warnings"] == {"html": 1}
    assert kept(dataset)[1]["text"] == "a &amp; b, AT&T; c & d"


def test_duplicates_by_words_ignore_punctuation_and_case(run: Any) -> None:
    rows = [*CLEAN, {"text": "Row number 3!!!", "label": "good"}]
    assert taken(run(rows)) == []
    assert taken(run(rows, duplicate_key="words")) == [(61, "duplicate", "demo.jsonl:4")]


def test_duplicates_may_stay_and_have_ids_of_their_own(run: Any) -> None:
    dataset = run([*CLEAN, CLEAN[0]], severity={"duplicate": "warn"}, near_duplicate_threshold=None)
    rows = kept(dataset)
    assert rows[61]["id"] == f"{rows[1]['id']}-2"
    assert dataset.facts["warnings"] == {"duplicate": 1}


def test_an_unknown_label_stops_and_names_the_row(run: Any, context: Context) -> None:
    with pytest.raises(DataError) as error:
        run([*CLEAN, {"text": "new", "label": "goood"}])
    assert "demo.jsonl:61: label 'goood' in column 'label' is not known" in str(error.value)
    assert "did you mean 'good'? (labels: bad, good)" in str(error.value)
    assert "validation.severity.label" in str(error.value.fix)
    assert not (context.root / "dataset").exists()


def test_a_missing_column_stops_before_any_row_is_read(run: Any) -> None:
    with pytest.raises(DataError, match="no column 'label'; did you mean 'labels'") as error:
        run([{"text": row["text"], "labels": row["label"]} for row in CLEAN])
    assert "columns: text, labels" in str(error.value)


def test_an_error_lists_every_broken_expectation_and_a_few_rows(run: Any) -> None:
    bad = [{"text": f"new {n}", "label": f"x{n}"} for n in range(8)]
    with pytest.raises(DataError) as error:
        run([*CLEAN, *bad, {"text": "", "label": "good"}], severity={"not_empty": "stop"})
    said = str(error.value)
    assert "label: expected that the label is known; 8 rows fail" in said
    assert "not_empty: expected that the text is not empty; 1 rows fail" in said
    assert "demo.jsonl:65" in said
    assert "demo.jsonl:66" not in said


@pytest.mark.parametrize(
    ("rows", "settings", "said"),
    [
        (CLEAN, {"min_rows": 61}, "min_rows: expected rows kept: at least 61, found 60"),
        (
            [*CLEAN, *CLEAN[:20]],
            {},
            "quarantined_share: expected share of rows quarantined: 0 to 0.1, found 0.25",
        ),
        (
            [row for row in CLEAN if row["label"] == "bad"],
            {"min_label_share": 0.1},
            "label_share: expected share of label good: 0.1 to 1, found 0",
        ),
        (
            CLEAN,
            {"splits": {"train": 0.999999, "validation": 0.000001, "test": 0}},
            "split_rows: expected rows in validation: at least 1, found 0",
        ),
    ],
)
def test_figures_of_the_whole_stop_the_line(
    run: Any, context: Context, rows: Any, settings: Any, said: str
) -> None:
    with pytest.raises(DataError) as error:
        run(rows, **settings)
    assert said in str(error.value)
    assert error.value.fix
    assert not (context.root / "dataset").exists()


def test_a_figure_can_be_a_warning_instead(run: Any) -> None:
    warn = {"min_rows": "warn"}
    dataset = run(CLEAN, min_rows=100, severity=warn, near_duplicate_threshold=None)
    assert dataset.facts["warnings"] == {"min_rows": 1}


def test_columns_may_have_the_names_that_validation_uses(run: Any) -> None:
    form = {
        "kind": "classification",
        "text": "source",
        "label": {"column": "row", "names": ["bad", "good"]},
    }
    dataset = run([{"source": r["text"], "row": r["label"]} for r in CLEAN], form)
    assert kept(dataset)[2]["text"] == "row number 1"


def test_conversations_and_plain_text_are_validated_too(run: Any) -> None:
    chats = [
        {
            "messages": [
                {"role": "user", "content": f"question {n}"},
                {"role": "assistant", "content": f"answer &amp; {n}"},
            ]
        }
        for n in range(40)
    ]
    empty = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": " "}]}
    dataset = run([*chats, empty, chats[0]], {"kind": "messages"}, unescape_html=True)
    assert kept(dataset)[3]["answer"] == "answer & 2"
    assert kept(dataset)[3]["target"] == -1
    assert taken(dataset) == [(41, "not_empty", ""), (42, "duplicate", "demo.jsonl:1")]

    texts = run([{"text": f"paragraph {n}"} for n in range(40)], {"kind": "text"})
    assert kept(texts)[1]["messages"] == "[]"
    assert texts.facts["labels"] == {}


def test_facts_tell_of_splits_labels_and_lengths(run: Any) -> None:
    facts = run(CLEAN).facts
    assert sum(sum(counts.values()) for counts in facts["labels"].values()) == 60
    assert sum(counts["good"] for counts in facts["labels"].values()) == 30
    assert facts["length"]["max"] == len("row number 59")
    met = [e["success"] for e in facts["expectations"] if e["expectation"] == "duplicate"]
    assert met == [True]
