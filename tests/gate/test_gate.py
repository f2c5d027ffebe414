"""The verdict, check by check, on hand-made evidence."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.contracts.errors import DataError, RecipeError
from components.contracts.events import Context
from components.contracts.kinds import Evaluation, Verdict, Verification
from components.gate.gate import gate
from components.gate.rows import CHECKS
from components.gate.settings import GateSettings
from components.scoring.items import Score
from components.scoring.tables import write_scores

ITEMS = 400
PARITY = {
    "variant": "fp32",
    "passed": True,
    "max_logit_difference": 1e-4,
    "limit": 1e-3,
    "prompts": 50,
    "identical_greedy": 50,
}


def scores(right: int, nll: float = 0.5) -> list[Score]:
    """Return 400 scores of which the first `right` are right."""
    return [
        Score(str(i), (-1.0, -2.0), 0, 0, i < right, i < right, nll, 2, 8 * nll, 4, 12)
        for i in range(ITEMS)
    ]


def judge(
    tmp_path: Path,
    context: Context,
    *,
    base: list[Score],
    tuned: list[Score],
    shipped: list[Score],
    parity: dict[str, Any] | None = None,
    preference: bool = False,
    **settings: Any,
) -> Verdict:
    with Evaluation.write(tmp_path / "evaluation") as draft:
        write_scores(draft.folder / "base.parquet", base)
        write_scores(draft.folder / "tuned.parquet", tuned)
        draft.facts = {"preference": {}} if preference else {}
    with Verification.write(tmp_path / "verification") as draft:
        write_scores(draft.folder / "int8.parquet", shipped)
        draft.facts = {"variants": {"int8": {}}, "parity": PARITY | (parity or {})}
    return gate(
        Evaluation.open(tmp_path / "evaluation"),
        Verification.open(tmp_path / "verification"),
        GateSettings(**settings),
        out=tmp_path / "verdict",
        context=context,
    )


def failed(verdict: Verdict) -> list[str]:
    return [reason["check"] for reason in verdict.facts["reasons"] if not reason["passed"]]


def test_clear_gain_is_promoted(tmp_path: Path, context: Context) -> None:
    verdict = judge(tmp_path, context, base=scores(200), tuned=scores(340), shipped=scores(341))
    assert verdict.facts["promote"]
    assert len(verdict.facts["reasons"]) == len(CHECKS) + 1  # and that there is no champion
    assert verdict.facts["against_base"]["gained"] == 141
    gain = next(r for r in verdict.facts["reasons"] if r["check"] == "better_than_base")
    assert "better by 35.2 points" in gain["text"]


@pytest.mark.parametrize(
    ("case", "check"),
    [
        ({"shipped": scores(205)}, "better_than_base"),
        ({"shipped": scores(150)}, "better_than_base"),
        ({"shipped": scores(300)}, "not_worse_than_tuned"),
        ({"shipped": scores(340, nll=0.52)}, "perplexity_kept"),
        ({"parity": {"passed": False, "identical_greedy": 49}}, "parity"),
        ({"min_items": 401}, "items"),
    ],
)
def test_each_fault_blocks_with_its_name(
    tmp_path: Path, context: Context, case: dict[str, Any], check: str
) -> None:
    evidence = {"base": scores(200), "tuned": scores(340), "shipped": scores(340)}
    verdict = judge(tmp_path, context, **{**evidence, **case})
    assert not verdict.facts["promote"]
    assert check in failed(verdict)


def test_same_model_is_not_better(tmp_path: Path, context: Context) -> None:
    same = scores(300)
    verdict = judge(tmp_path, context, base=same, tuned=same, shipped=same)
    assert failed(verdict) == ["better_than_base"]


def texts(nll: float) -> list[Score]:
    """Return 400 documents of 5 to 9 tokens, unlike each other, with `nll` a token."""
    lengths = [5 + place % 5 for place in range(ITEMS)]
    return [
        Score(str(i), (), -1, -1, False, False, 0.0, 0, n * nll * (1 + 0.01 * (i % 7)), n, 4 * n)
        for i, n in enumerate(lengths)
    ]


def test_plain_text_is_judged_by_its_bits_per_byte(tmp_path: Path, context: Context) -> None:
    verdict = judge(tmp_path, context, base=texts(3.0), tuned=texts(2.0), shipped=texts(2.001))
    assert verdict.facts["judged_by"] == "text"
    assert verdict.facts["promote"], verdict.facts["reasons"]
    assert verdict.facts["against_base"]["difference"] == pytest.approx(-0.371, abs=1e-3)
    said = {reason["check"]: reason["text"] for reason in verdict.facts["reasons"]}
    assert "better by 0.37" in said["better_than_base"]
    assert "400 documents" in said["better_than_base"]


@pytest.mark.parametrize(
    ("case", "check"),
    [
        ({"shipped": texts(3.0)}, "better_than_base"),
        ({"shipped": texts(3.1)}, "better_than_base"),
        ({"shipped": texts(2.05)}, "not_worse_than_tuned"),
        ({"parity": {"passed": False}}, "parity"),
        ({"min_items": 401}, "items"),
    ],
)
def test_each_fault_of_plain_text_blocks_with_its_name(
    tmp_path: Path, context: Context, case: dict[str, Any], check: str
) -> None:
    evidence = {"base": texts(3.0), "tuned": texts(2.0), "shipped": texts(2.0)}
    verdict = judge(tmp_path, context, **{**evidence, **case})
    assert not verdict.facts["promote"]
    assert check in failed(verdict)


def test_answers_and_plain_text_cannot_be_mixed(tmp_path: Path, context: Context) -> None:
    mixed = [*scores(200)[:-1], texts(2.0)[-1]]
    with pytest.raises(DataError, match="make two recipes"):
        judge(tmp_path, context, base=mixed, tuned=mixed, shipped=mixed)


def pairs(margin: float, spread: float) -> list[Score]:
    """Return 400 pairs; the chosen answer is likelier by `margin` give or take `spread` nats."""
    made = []
    for score in scores(0):
        lead = margin + spread * ((int(score.id) * 37 % 101) / 50 - 1)
        right = lead > 0
        made.append(
            replace(score, choice_logprobs=(lead - 5, -5.0), choice=int(not right), right=right)
        )
    return made


def test_pairs_must_be_rewarded_rightly_too(tmp_path: Path, context: Context) -> None:
    better = {"base": pairs(-0.5, 2), "tuned": pairs(1.0, 2), "shipped": pairs(1.0, 2)}
    verdict = judge(tmp_path, context, preference=True, **better)
    assert verdict.facts["promote"], verdict.facts["reasons"]
    assert verdict.facts["implicit_reward"]["accuracy"] == 1.0
    assert verdict.facts["implicit_reward"]["margin"] == pytest.approx(1.5)
    # Likelier than before by the same for chosen and rejected: no reward was learned.
    same = {"base": pairs(0.5, 2), "tuned": pairs(0.5, 2), "shipped": pairs(0.5, 2)}
    verdict = judge(tmp_path / "same", context, preference=True, **same)
    assert "rewards_the_chosen" in failed(verdict)
    assert verdict.facts["implicit_reward"]["right"] == 0


def test_unknown_file_to_ship_is_named(tmp_path: Path, context: Context) -> None:
    with pytest.raises(RecipeError, match=r"gate\.ship is 'int88'.*did you mean 'int8'"):
        judge(
            tmp_path,
            context,
            base=scores(1),
            tuned=scores(1),
            shipped=scores(1),
            ship="int88",
        )
