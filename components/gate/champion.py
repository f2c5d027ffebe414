"""The champion: the version that is in use now must not be worth more than the file to ship."""

from typing import Any

from components.gate.evidence import Evidence
from components.gate.reason import Reason
from components.gate.rival import settled
from components.scoring.comparison import Comparison


def judge_champion(evidence: Evidence) -> tuple[list[Reason], dict[str, Any]]:
    """Return the reasons against the champion, and what is known of it.

    Without a champion there is one reason, a pass that says so.
    """
    facts = {"there": False, **evidence.champion_facts}
    facts.pop("tasks", None)  # the verification holds them
    if (no_rival := settled(evidence)) is not None:
        return [Reason("champion", *no_rival)], facts
    found = evidence.against_champion
    reasons = [not_worse(evidence)]
    if evidence.settings.champion.superiority:
        reasons.append(better(evidence))
    return reasons, {**facts, "against": found.facts()}


def not_worse(evidence: Evidence) -> Reason:
    """Non-inferiority by the paired 95 % interval: of accuracy, of plain text of bits per byte."""
    found, demand = evidence.against_champion, evidence.settings.champion
    if isinstance(found, Comparison):
        passed = found.interval[0] >= -demand.max_accuracy_loss
        limit = f"lower end at least {-100 * demand.max_accuracy_loss:.1f} points"
    else:
        passed = found.interval[1] <= demand.max_bits_per_byte_rise
        limit = f"upper end at most {demand.max_bits_per_byte_rise:+.4f}"
    whose = "the champion, with its own tokenizer" if evidence.own_tokens else "the champion"
    text = f"{evidence.settings.ship} against {whose}: {found.words()} ({limit})"
    return Reason("not_worse_than_champion", passed, text)


def better(evidence: Evidence) -> Reason:
    """Superiority, where the recipe asks for it."""
    found, limit = evidence.against_champion, evidence.settings.alpha
    return Reason(
        "better_than_champion",
        found.improved and found.p <= limit,
        f"{evidence.settings.ship} against the champion: {found.words()} (p ≤ {limit:g} needed)",
    )
