"""Ratings are kept at once, can be taken back, and survive a crash in the middle of a line."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from made_sheet import made_pairs

from components.contracts.errors import DataError
from components.judging.pairs import sample
from components.judging.ratings import append, rated, read_ratings, standing
from components.judging.result import result

ORDER = ("base", "int8")


def test_the_last_word_of_a_rater_counts(tmp_path: Path) -> None:
    file, (one, two) = tmp_path / "ratings.jsonl", made_pairs(2)
    for pair, choice in ((one, "base"), (two, "tie"), (one, None), (one, "int8"), (two, None)):
        append(file, [rated(pair, "ann", ORDER, choice)])
    append(file, [rated(one, "bob", ORDER, "base")])
    stand = standing(read_ratings(file))
    assert {key: said.choice for key, said in stand.items()} == {
        (one.key, "ann"): "int8",
        (one.key, "bob"): "base",
    }


def test_half_a_line_is_cut_off_and_the_others_stay(tmp_path: Path) -> None:
    file, pairs = tmp_path / "ratings.jsonl", made_pairs(3)
    append(file, [rated(pair, "ann", ORDER, "int8") for pair in pairs[:2]])
    with file.open("ab") as stream:
        stream.write(b'{"pair": "torn')
    assert len(read_ratings(file)) == 2
    append(file, [rated(pairs[2], "ann", ORDER, "base")])
    assert [said.choice for said in read_ratings(file)] == ["int8", "int8", "base"]


def test_a_line_that_is_no_rating_is_named(tmp_path: Path) -> None:
    file, (pair, *_) = tmp_path / "ratings.jsonl", made_pairs(1)
    append(file, [rated(pair, "ann", ORDER, "int8")])
    line = json.loads(file.read_text())
    for wrong, told in (
        ("what?", "not JSON"),
        (json.dumps({"pair": "x"}), "not a rating"),
        (json.dumps({**line, "choice": "fp64"}), "'fp64', which was not shown"),
    ):
        file.write_text(json.dumps(line) + "\n" + wrong + "\n")
        with pytest.raises(DataError, match=r"ratings.jsonl, line 2: ") as caught:
            read_ratings(file)
        assert told in str(caught.value)


def test_raters_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    file, pairs = tmp_path / "ratings.jsonl", made_pairs(40)

    def work(rater: str) -> None:
        for pair in pairs:
            append(file, [rated(pair, rater, ORDER, "int8")])

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, ("ann", "bob", "eve")))
    assert len(standing(read_ratings(file))) == 120


def test_each_item_counts_once_and_agreement_is_told() -> None:
    pairs = made_pairs(4)
    said = [rated(pair, "ann", ORDER, "int8") for pair in pairs]
    said += [
        rated(pair, "bob", ORDER[::-1], c)
        for pair, c in zip(pairs, ("int8", "base", "tie"), strict=False)
    ]
    found = result(pairs, said, "int8", "base")
    overall = found["overall"]
    assert (overall["wins"], overall["losses"], overall["ties"]) == (3, 0, 1)
    assert found["raters"]["bob"]["losses"] == 1
    assert found["ratings"] == 7
    assert found["agreement"]["items"] == 3
    assert found["agreement"]["unanimous"] == 1
    assert list(found["agreement"]["kappa"]) == ["ann, bob"]
    # ann always saw base first and chose int8; bob saw int8 first and chose it once of twice.
    assert found["first_shown"]["chosen"] == 1
    assert found["first_shown"]["of"] == 6


def test_ratings_of_other_pairs_do_not_count() -> None:
    pairs = made_pairs(3)
    said = [rated(pair, "ann", ORDER, "int8") for pair in pairs]
    found = result(pairs[:2], said, "int8", "base")
    assert (found["ratings"], found["other"], found["overall"]["items"]) == (2, 1, 2)


def test_a_larger_sample_only_adds_and_the_order_is_blind() -> None:
    pairs = made_pairs(200)
    few, many = sample(pairs, 20, 7), sample(pairs, 60, 7)
    assert many[:20] == few
    assert sample(pairs, 20, 8) != few
    for rater in ("ann", "bob"):
        first = sum(pair.order(0, rater)[0] == "base" for pair in pairs)
        assert 70 < first < 130
    assert [p.order(0, "ann") for p in pairs] != [p.order(0, "bob") for p in pairs]
    assert [p.order(0, "ann") for p in pairs] == [p.order(0, "ann") for p in made_pairs(200)]
