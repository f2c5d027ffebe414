"""The verdict, check by check, on hand-made evidence."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.contracts.errors import DataError, RecipeError
from components.contracts.events import Context
from components.contracts.kinds import Evaluation, Verdict, Verification
from components.gate import CHECKS, GateSettings, gate
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
    **settings: Any,
) -> Verdict:
    with Evaluation.write(tmp_path / "evaluation") as draft:
        write_scores(draft.folder / "base.parquet", base)
        write_scores(draft.folder / "tuned.parquet", tuned)
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
    assert len(verdict.facts["reasons"]) == len(CHECKS)
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


def test_rows_without_answers_are_refused(tmp_path: Path, context: Context) -> None:
    plain = [replace(score, answer_tokens=0) for score in scores(1)]
    with pytest.raises(DataError, match="plain text have none"):
        judge(tmp_path, context, base=plain, tuned=plain, shipped=plain)


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
