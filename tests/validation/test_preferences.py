"""Rows of preferences: the rejected answer is looked at too."""

from typing import Any

import pyarrow.parquet as pq
from planted import sentence

FORM = {"kind": "preference"}
SOUND = [
    {"prompt": sentence(n), "chosen": sentence(-n - 1), "rejected": sentence(f"no {n}")}
    for n in range(60)
]


def test_rejected_answers_are_held_against_what_any_text_must_meet(run: Any) -> None:
    faulty = [
        SOUND[0] | {"prompt": sentence("a"), "rejected": "  "},
        SOUND[1] | {"prompt": sentence("b"), "rejected": "it\x92s"},
        SOUND[2] | {"prompt": sentence("c"), "rejected": "you dickhead you bastard"},
        SOUND[3] | {"prompt": sentence("d"), "rejected": "mail jo.doe@fictive.net"},
    ]
    dataset = run([*SOUND, *faulty], FORM, near_duplicate_threshold=None)
    taken = pq.read_table(dataset.quarantine).to_pylist()
    assert [(one["row"], one["expectation"], one["value"]) for one in taken] == [
        (61, "not_empty", ""),
        (62, "encoding", "rejected answer: C1 control U+0092"),
    ]
    (mail,) = dataset.facts["warned_rows"]["personal_data"]
    assert mail["row"] == "demo.jsonl:64"
    assert mail["value"].startswith("rejected answer: email ")
    assert dataset.facts["warnings"] == {"personal_data": 1}, "rudeness is rejected on purpose"
