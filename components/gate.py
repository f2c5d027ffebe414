"""The verdict: may the file to ship become champion? Paired statistics over the very same items."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from components.contracts.artefacts import write_json
from components.contracts.errors import DataError, RecipeError, did_you_mean
from components.contracts.events import Context
from components.contracts.kinds import Evaluation, Verdict, Verification
from components.contracts.settings import Settings
from components.scoring.comparison import Comparison, compare
from components.scoring.items import Score
from components.scoring.metrics import summarise
from components.scoring.preference import ImplicitReward, implicit_reward
from components.scoring.tables import read_scores
from components.scoring.text_comparison import TextComparison, compare_texts, resamples_for


class GateSettings(Settings):
    """What the file to ship must show.

    `alpha`: largest p of the exact McNemar test against the base (of plain text: of the paired
    bootstrap over documents). `max_accuracy_loss`: how far below the tuned torch model the lower
    end of the paired 95 % interval may lie, as a share. `max_perplexity_rise`: largest relative
    rise of answer and text perplexity over tuned; of plain text, where nothing else is judged, the
    upper end of the rise's paired 95 % interval must lie below it.
    """

    ship: str = "int8"
    min_items: PositiveInt = 300
    alpha: float = Field(default=0.01, gt=0, lt=1)
    max_accuracy_loss: float = Field(default=0.02, ge=0, lt=1)
    max_perplexity_rise: float = Field(default=0.02, ge=0)


@dataclass(frozen=True)
class Evidence:
    """What the checks look at: scores by item and the facts of the verification."""

    base: list[Score]
    tuned: list[Score]
    shipped: list[Score]
    parity: dict[str, Any]
    settings: GateSettings
    preference: bool = False
    base_is: str = "base"

    @property
    def text(self) -> bool:
        """Whether the rows are plain text: nothing was asked, so nothing was answered."""
        return not any(score.answer_tokens for score in self.shipped)

    @cached_property
    def text_gain(self) -> TextComparison:
        resamples = resamples_for(self.settings.alpha)
        return compare_texts(self.shipped, self.base, resamples=resamples)

    @cached_property
    def text_cost(self) -> TextComparison:
        return compare_texts(self.shipped, self.tuned)

    @cached_property
    def reward(self) -> ImplicitReward:
        return implicit_reward(self.shipped, self.base)

    @cached_property
    def gain(self) -> Comparison:
        return compare(self.shipped, self.base)

    @cached_property
    def cost(self) -> Comparison:
        return compare(self.shipped, self.tuned)


@dataclass(frozen=True)
class Reason:
    """One check of the gate, in words."""

    check: str
    passed: bool
    text: str


def gate(
    evaluation: Evaluation,
    verification: Verification,
    settings: GateSettings,
    *,
    out: Path,
    context: Context,
) -> Verdict:
    """Judge the exported file `settings.ship`; a failed check is a result, not an error.

    Rows with answers are judged by these, plain text by its bits per byte.

    Raises:
        RecipeError: no exported file has the name `settings.ship`.
        DataError: the models did not answer the same items, or only some items have answers.
    """
    variants = verification.facts["variants"]
    if settings.ship not in variants:
        raise RecipeError(
            f"gate.ship is '{settings.ship}', which was not exported"
            f"{did_you_mean(settings.ship, variants)}",
            fix=f"use one of: {', '.join(variants)}, or add it to export.variants",
        )
    evidence = Evidence(
        base=read_scores(evaluation.scores("base")),
        tuned=read_scores(evaluation.scores("tuned")),
        shipped=read_scores(verification.scores(settings.ship)),
        parity=verification.facts["parity"],
        settings=settings,
        preference="preference" in evaluation.facts,
        base_is=evaluation.facts.get("base_is", "base"),
    )
    judged = judge(evidence)
    reasons = [check(evidence) for check in judged.checks]
    for reason in reasons:
        context.events.note(f"{'pass' if reason.passed else 'FAIL'}  {reason.text}")
    with Verdict.write(out) as draft:
        draft.facts = {
            "promote": all(reason.passed for reason in reasons),
            "ship": settings.ship,
            "reasons": [reason.__dict__ for reason in reasons],
            **judged.facts(evidence),
        }
        write_json(draft.folder / "verdict.json", draft.facts)
    return Verdict.open(out)


def same_model(evidence: Evidence) -> Reason:
    """The export itself is right: fp32 in ONNX Runtime equals torch."""
    parity = evidence.parity
    return Reason(
        "parity",
        bool(parity["passed"]),
        f"{parity['variant']} file against torch: "
        f"logits differ by at most {parity['max_logit_difference']:.1g} "
        f"(allowed {parity['limit']:.1g}), {parity.get('compared', 'greedy answers')} identical on "
        f"{parity['identical_greedy']} of {parity['prompts']} prompts",
    )


def enough_items(evidence: Evidence) -> Reason:
    found, needed = len(evidence.shipped), evidence.settings.min_items
    return Reason("items", found >= needed, f"{found} held-out items (at least {needed} needed)")


def better_than_base(evidence: Evidence) -> Reason:
    gain = evidence.gain
    passed = gain.difference > 0 and gain.p <= evidence.settings.alpha
    limit = evidence.settings.alpha
    return Reason(
        "better_than_base",
        passed,
        f"{evidence.settings.ship} against {evidence.base_is}: {gain.words()} "
        f"(p ≤ {limit:g} needed)",
    )


def not_worse_than_tuned(evidence: Evidence) -> Reason:
    cost, margin = evidence.cost, evidence.settings.max_accuracy_loss
    return Reason(
        "not_worse_than_tuned",
        cost.interval[0] >= -margin,
        f"{evidence.settings.ship} against tuned: {cost.words()} "
        f"(lower end at least {-100 * margin:.1f} points)",
    )


def perplexity_kept(evidence: Evidence) -> Reason:
    shipped, tuned = summarise(evidence.shipped), summarise(evidence.tuned)
    rises = {
        name: shipped[key] / tuned[key] - 1
        for name, key in (("answers", "answer_perplexity"), ("text", "perplexity"))
        if tuned[key] is not None
    }
    limit = evidence.settings.max_perplexity_rise
    said = ", ".join(f"{name} {100 * rise:+.2f} %" for name, rise in rises.items())
    return Reason(
        "perplexity_kept",
        all(rise <= limit for rise in rises.values()),
        f"perplexity of {evidence.settings.ship} against tuned: {said} "
        f"(at most {100 * limit:+.2f} %)",
    )


def text_better_than_base(evidence: Evidence) -> Reason:
    gain, limit = evidence.text_gain, evidence.settings.alpha
    return Reason(
        "better_than_base",
        gain.difference < 0 and gain.p <= limit,
        f"text under {evidence.settings.ship} against base: {gain.words()} (p ≤ {limit:g} needed)",
    )


def text_not_worse_than_tuned(evidence: Evidence) -> Reason:
    cost, margin = evidence.text_cost, evidence.settings.max_perplexity_rise
    low, high = (100 * bound for bound in cost.rise_interval)
    return Reason(
        "not_worse_than_tuned",
        cost.rise_interval[1] <= margin,
        f"text perplexity of {evidence.settings.ship} against tuned: {100 * cost.rise:+.2f} % "
        f"({low:+.2f} … {high:+.2f}; upper end at most {100 * margin:+.2f} %)",
    )


def rewards_the_chosen(evidence: Evidence) -> Reason:
    reward, limit = evidence.reward, evidence.settings.alpha
    return Reason(
        "rewards_the_chosen",
        reward.accuracy > 0.5 and reward.p <= limit,
        f"implicit reward of {evidence.settings.ship} over base: {reward.words()} "
        f"(p ≤ {limit:g} needed)",
    )


def answer_facts(evidence: Evidence) -> dict[str, Any]:
    return {
        "against_base": evidence.gain.facts(),
        "against_tuned": evidence.cost.facts(),
    }


def preference_facts(evidence: Evidence) -> dict[str, Any]:
    reward = {"implicit_reward": evidence.reward.facts()}
    return {"judged_by": "preference", **answer_facts(evidence), **reward}


def text_facts(evidence: Evidence) -> dict[str, Any]:
    return {
        "judged_by": "text",
        "against_base": evidence.text_gain.facts(),
        "against_tuned": evidence.text_cost.facts(),
    }


CHECKS: list[Callable[[Evidence], Reason]] = [
    same_model,
    enough_items,
    better_than_base,
    not_worse_than_tuned,
    perplexity_kept,
]


@dataclass(frozen=True)
class Judged:
    """What a kind of rows is judged by: the checks, and what of the figures is kept."""

    checks: list[Callable[[Evidence], Reason]]
    facts: Callable[[Evidence], dict[str, Any]]


ANSWERS = Judged(CHECKS, answer_facts)
PREFERENCE = Judged([*CHECKS, rewards_the_chosen], preference_facts)
TEXT = Judged(
    [same_model, enough_items, text_better_than_base, text_not_worse_than_tuned], text_facts
)


def judge(evidence: Evidence) -> Judged:
    """Return what these rows are judged by; raise `DataError` if only some have answers."""
    if evidence.text:
        return TEXT
    if not all(score.answer_tokens for score in evidence.shipped):
        raise DataError(
            "some of the held-out rows have answers and some are plain text: "
            "one verdict cannot cover both",
            fix="make two recipes of them, one a format",
        )
    return PREFERENCE if evidence.preference else ANSWERS
