"""The gate step: paired statistics over the very same items become one verdict with reasons."""

from dataclasses import asdict
from pathlib import Path

from components.contracts.artefacts import write_json
from components.contracts.events import Context
from components.contracts.kinds import Evaluation, Verdict, Verification
from components.gate.champion import judge_champion
from components.gate.evidence import gather
from components.gate.guards import judge_guards
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
    evidence = gather(evaluation, verification, settings)
    judged = judge(evidence)
    reasons = [check(evidence) for check in judged.checks]
    facts = {}
    for name, part in (
        ("tasks", judge_tasks),
        ("guards", judge_guards),
        ("champion", judge_champion),
    ):
        more, facts[name] = part(evidence)
        reasons += more
    for reason in reasons:
        context.events.note(f"{'pass' if reason.passed else 'FAIL'}  {reason.text}")
    with Verdict.write(out) as draft:
        draft.facts = {
            "promote": all(reason.passed for reason in reasons),
            "ship": settings.ship,
            "reasons": [asdict(reason) for reason in reasons],
            **judged.facts(evidence),
            **facts,
        }
        write_json(draft.folder / "verdict.json", draft.facts)
    return Verdict.open(out)
