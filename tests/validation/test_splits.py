"""Splits by content: shares are kept, and no row ever moves because others came."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from components.contracts.kinds import Dataset
from components.validation.identity import SPLITS, duplicate_key, split_of
from components.validation.settings import SplitSettings

SHARES = SplitSettings(train=0.7, validation=0.1, test=0.2, seed=3)


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


def test_rows_that_are_added_move_no_old_row(run: object) -> None:
    rows = [{"text": f"row number {n}", "label": ("bad", "good")[n % 2]} for n in range(120)]
    before = places(run(rows[:80]))  # type: ignore[operator]
    after = places(run([*reversed(rows)]))  # type: ignore[operator]
    assert len(before) == 80
    assert len(after) == 120
    assert all(after[text] == split for text, split in before.items())


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
