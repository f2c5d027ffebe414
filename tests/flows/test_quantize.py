"""The search for few bits on the tiny model: what it measures, keeps and tells."""

import json
from pathlib import Path

import pytest

from components.contracts.errors import RecipeError
from components.contracts.events import Context, Heard
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.export.candidates import CANDIDATES, settings_of
from components.export.settings import ExportSettings
from components.quantization.front import search
from components.scoring.tables import read_items
from components.verification.settings import VerificationSettings
from flows.quantize import margins_of, none_within, share_of
from flows.quantize_measure import SPLIT, Bench
from flows.quantize_show import as_dict, write_front

SPEED = VerificationSettings(speed_seconds=0.01, speed_prompt_tokens=8, speed_new_tokens=2)
NAMES = ["gptq-g32", "int8-g64"]


def bench(base: BaseModelFolder, tokens: Tokens, adapter: Adapter, folder: Path) -> Bench:
    asked = ExportSettings.model_validate({"int4": {"algo_config": "gptq"}})
    context = Context(folder, folder / "scratch", Heard())
    items = read_items(tokens, SPLIT, None)
    return Bench(base, tokens, adapter, asked, SPEED, items, context, folder / "kept")


def test_candidates_are_measured_once_told_and_plotted(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, tiny_adapter: Adapter, tmp_path: Path
) -> None:
    first = bench(tiny_base, tiny_tokens, tiny_adapter, tmp_path)
    margins = margins_of("1%", "50%") | {"answer perplexity": 0.5, "accuracy": 0.5}
    tried = search(NAMES, first.measure, margins, "size", every=True)
    first.close()
    assert [one.measured.items for one in tried] == [16, 16]
    four, eight = (one.measured for one in tried)
    assert four.bytes < eight.bytes
    assert eight.worst < 0.02
    assert eight.worst < four.worst
    assert four.decode > 0

    again = bench(tiny_base, tiny_tokens, tiny_adapter, tmp_path)
    assert search(NAMES, again.measure, margins, "size", every=True) == tried
    assert isinstance(again.context.events, Heard)
    assert not again.context.events.marks, "all was known: nothing may be built or asked again"

    told = as_dict("tiny", again.asked, tried, margins, "size")
    assert told["chosen"] == {
        "name": "gptq-g32",
        "variant": "int4",
        "settings": {"algo_config": "gptq"},
    }
    numbers, plot = write_front(tmp_path / "front", told)
    assert json.loads(numbers.read_text()) == json.loads(json.dumps(told))
    assert plot.read_text().startswith("<svg")
    assert all(name in plot.read_text() for name in NAMES)
    assert "int8-g64 loses least" in str(none_within(tried, margins))


def test_every_candidate_is_a_setting_that_a_recipe_may_have() -> None:
    asked = ExportSettings.model_validate(
        {"int4": {"algo_config": "gptq", "calibration": {"nsamples": 7}}}
    )
    for name, (kind, _) in CANDIDATES.items():
        found = settings_of(name, asked)
        assert found.variants == (kind,)
        if found.int4.calibrated:
            assert found.int4.calibration.nsamples == 7


@pytest.mark.parametrize("text", ["1", "-1%", "much", "100%"])
def test_a_margin_is_a_share(text: str) -> None:
    with pytest.raises(RecipeError, match=r"write --within 1% or 0\.01"):
        share_of(text, "--within")


def test_plain_text_may_have_a_margin_of_its_own() -> None:
    assert margins_of("1%", None)["text perplexity"] == pytest.approx(0.01)
    assert margins_of("1 %", "6%") == {
        "accuracy": 0.01,
        "answer perplexity": 0.01,
        "text perplexity": 0.06,
    }
