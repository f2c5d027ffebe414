"""Splits by content: shares are kept, and no row ever moves because others came."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from planted import row, sentence
from pydantic import ValidationError

from components.contracts.errors import DataError
from components.contracts.kinds import Dataset
from components.validation.identity import SPLITS, duplicate_key, place, split_of
from components.validation.settings import SplitSettings
from components.validation.splits import assign

SHARES = SplitSettings(train=0.7, validation=0.1, test=0.2, seed=3)
STRATIFIED = SplitSettings(train=0.7, validation=0.1, test=0.2, stratify=True)


def places(dataset: Dataset) -> dict[str, str]:
    return {
        text: split
        for split in SPLITS
        for text in pq.read_table(dataset.split(split))["text"].to_pylist()
    }


def test_shares_are_kept_and_the_seed_deals_anew() -> None:
    keys = [f"row {n}" for n in range(20_000)]
    dealt = [split_of(key, SHARES) for key in keys]
    for split in SPLITS:
        assert abs(dealt.count(split) / len(keys) - getattr(SHARES, split)) < 0.01
    other = SplitSettings(train=0.7, validation=0.1, test=0.2, seed=4)
    assert [split_of(key, other) for key in keys] != dealt


def test_rows_that_are_added_move_no_old_row(run: Any) -> None:
    rows = [{"text": f"row number {n}", "label": ("bad", "good")[n % 2]} for n in range(120)]
    before = places(run(rows[:80]))
    after = places(run([*reversed(rows)]))
    assert len(before) == 80
    assert len(after) == 120
    assert all(after[text] == split for text, split in before.items())


def test_a_group_stays_together_and_its_rows_move_with_no_one(run: Any) -> None:
    rows = [row(sentence(n), author=f"author {n % 40}") for n in range(160)]
    grouped = {**SHARES.model_dump(), "group_by": "author"}
    before = places(run(rows[:100], splits=grouped))
    after = places(run([*reversed(rows)], splits=grouped))
    assert all(after[text] == split for text, split in before.items())
    for author in range(40):
        assert len({after[sentence(n)] for n in range(author, 160, 40)}) == 1
    assert len({*after.values()}) == 3


def test_rows_without_a_group_are_dealt_by_their_text(run: Any) -> None:
    rows = [row(sentence(n), author=None) for n in range(60)]
    grouped = {**SHARES.model_dump(), "group_by": "author"}
    assert places(run(rows, splits=grouped)) == places(run(rows, splits=SHARES.model_dump()))


def test_a_column_to_group_by_that_is_not_there_is_named(run: Any) -> None:
    rows = [row(sentence(n), author="one") for n in range(20)]
    with pytest.raises(DataError, match="no column 'auhtor'; did you mean 'author'"):
        run(rows, splits={**SHARES.model_dump(), "group_by": "auhtor"})


def test_near_duplicates_stay_together_when_asked(run: Any) -> None:
    texts = [sentence(n, 30) for n in range(40)]
    rows = [row(one) for text in texts for one in (text, f"{text} anew")]
    apart = places(run(rows, splits=SHARES.model_dump()))
    assert any(apart[text] != apart[f"{text} anew"] for text in texts)
    grouped = {**SHARES.model_dump(), "group_near_duplicates": True}
    dataset = run(rows, splits=grouped)
    together = places(dataset)
    assert all(together[text] == together[f"{text} anew"] for text in texts)
    assert "near_leakage" not in dataset.facts["warnings"]
    # The first row of a group decides, so copies that come later move nothing.
    alone = places(run([row(text) for text in texts], splits=grouped))
    assert all(together[text] == split for text, split in alone.items())


def test_stratified_splits_have_the_exact_shares_of_every_label() -> None:
    rng = np.random.default_rng(0)
    spots, labels = line(rng, 1000), (rng.random(1000) < 0.1).astype(int)
    splits = assign(spots, STRATIFIED, labels=labels)
    for label in (0, 1):
        counts = np.bincount(splits[labels == label], minlength=3)
        wanted = (labels == label).sum() * np.array([0.7, 0.1, 0.2])
        assert np.abs(counts - wanted).max() <= 1


def test_rows_added_to_a_stratified_set_move_few_rows_and_none_of_other_labels() -> None:
    rng = np.random.default_rng(1)
    spots, labels = line(rng, 2000), np.arange(2000) % 2
    before = assign(spots, STRATIFIED, labels=labels)
    for added in (1, 10, 200):
        more, of_one = np.append(spots, line(rng, added)), np.append(labels, np.zeros(added, int))
        after = assign(more, STRATIFIED, labels=of_one)[:2000]
        moved = before != after
        assert not moved[labels == 1].any()
        assert moved.sum() <= 2 * (added + 1), "at most one row at each edge for every row added"
    order = rng.permutation(2000)
    assert (assign(spots[order], STRATIFIED, labels=labels[order]) == before[order]).all()


def test_equal_texts_are_never_parted_by_stratifying() -> None:
    spots = np.repeat(line(np.random.default_rng(2), 50), 7)
    splits = assign(spots, STRATIFIED, labels=np.zeros(350, int)).reshape(50, 7)
    assert (splits == splits[:, :1]).all()


def test_places_and_names_of_splits_agree() -> None:
    keys = [f"row {n}" for n in range(500)]
    spots = np.array([place(key, SHARES.seed) for key in keys], dtype=np.uint64)
    assert [SPLITS[n] for n in assign(spots, SHARES)] == [split_of(key, SHARES) for key in keys]


def line(rng: Any, count: int) -> Any:
    """Return places at random."""
    return rng.integers(0, 2**64, count, dtype=np.uint64)


def test_spellings_of_one_text_fall_into_one_split() -> None:
    spellings = ["Yay. So good", "YAY!!! so GOOD", "yay so  good"]
    assert len({duplicate_key(text, "words") for text in spellings}) == 1
    assert len({duplicate_key(text, "text") for text in spellings}) == 3


def test_a_text_without_words_keeps_its_signs() -> None:
    assert duplicate_key(":)", "words") != duplicate_key(":(", "words")


def test_shares_must_add_up() -> None:
    with pytest.raises(ValidationError, match=r"add up to 1, not 1\.1"):
        SplitSettings(train=0.8, validation=0.1, test=0.2)


def test_no_module_of_great_expectations_is_loaded_by_the_settings(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys, components.validation.settings, components.sources.settings\n"
        "import components.formats.settings, components.tokenization.settings\n"
        "heavy = {'great_expectations', 'pandas', 'torch', 'transformers', 'pyarrow'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
