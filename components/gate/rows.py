"""The checks on the held-out rows: right answers; bits per byte where the rows are plain text."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.contracts.errors import DataError
from components.gate.evidence import Evidence
from components.gate.reason import Reason
from components.scoring.metrics import summarise


def same_model(evidence: Evidence) -> Reason:
    """The export itself is right: fp32 in ONNX Runtime equals torch."""
    parity = evidence.parity
    changed = "".join(
        f"; weights of the {name} file are not those of the fp32 file: {', '.join(tensors[:3])}"
        for name, tensors in parity.get("changed_weights", {}).items()
    )
    return Reason(
        "parity",
        bool(parity["passed"]),
        f"{parity['variant']} file against torch: "
        f"logits differ by at most {parity['max_logit_difference']:.1g} "
        f"(allowed {parity['limit']:.1g}), {parity.get('compared', 'greedy answers')} identical on "
        f"{parity['identical_greedy']} of {parity['prompts']} prompts{changed}",
    )


def enough_items(evidence: Evidence) -> Reason:
    found, needed = len(evidence.shipped), evidence.settings.min_items
    return Reason("items", found >= needed, f"{found} held-out items (at least {needed} needed)")


def better_than_base(evidence: Evidence) -> Reason:
    gain, limit = evidence.gain, evidence.settings.alpha
    return Reason(
        "better_than_base",
        gain.improved and gain.p <= limit,
        f"{'text under ' if evidence.text else ''}{evidence.settings.ship} "
        f"against {evidence.base_is}: {gain.words()} (p ≤ {limit:g} needed)",
    )


def not_worse_than_tuned(evidence: Evidence) -> Reason:
    cost, margin = evidence.cost, evidence.settings.max_accuracy_loss
    return Reason(
        "not_worse_than_tuned",
        cost.interval[0] >= -margin,
        f"{evidence.settings.ship} against tuned: {cost.words()} "
        f"(lower end at least {-100 * margin:.1f} points)",
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
        "against_base": evidence.gain.facts(),
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
TEXT = Judged([same_model, enough_items, better_than_base, text_not_worse_than_tuned], text_facts)


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
