"""The gate step: paired statistics over the very same items become one verdict with reasons."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.contracts.artefacts import write_json
from components.contracts.events import Context
from components.contracts.kinds import Evaluation, Verdict, Verification
from components.gate.champion import judge_champion
from components.gate.evidence import Evidence, gather
from components.gate.guards import judge_guards
from components.gate.reason import Reason
from components.gate.rows import judge
from components.gate.settings import GateSettings
from components.gate.tasks import judge_tasks


def gate(
    evaluation: Evaluation,
    verification: Verification,
    settings: GateSettings,
    *,
    out: Path,
    context: Context,
) -> Verdict:
    """Judge the exported file `settings.ship`; a failed check is a result, not an error.

    Rows with answers are judged by these, plain text by its bits per byte; then come the tasks
    that the recipe demands something of, the guards and the champion.

    Raises:
        RecipeError: no exported file has the name `settings.ship`, or a demand names no task.
        DataError: the models did not answer the same items, or only some items have answers.
    """
    reasons, facts = judge_all(gather(evaluation, verification, settings))
    for reason in reasons:
        context.events.note(f"{'pass' if reason.passed else 'FAIL'}  {reason.text}")
    with Verdict.write(out) as draft:
        draft.facts = {
            "promote": all(reason.passed for reason in reasons),
            "ship": settings.ship,
            "reasons": [asdict(reason) for reason in reasons],
            **facts,
        }
        write_json(draft.folder / "verdict.json", draft.facts)
    return Verdict.open(out)


def judge_all(evidence: Evidence) -> tuple[list[Reason], dict[str, Any]]:
    """Return the reason of every check, and the figures behind them."""
    judged = judge(evidence)
    reasons = [check(evidence) for check in judged.checks]
    facts = judged.facts(evidence)
    for name, part in PARTS.items():
        more, facts[name] = part(evidence)
        reasons += more
    return reasons, facts


PARTS = {"tasks": judge_tasks, "guards": judge_guards, "champion": judge_champion}
"""What is judged beside the held-out rows; each key stands in the verdict."""
