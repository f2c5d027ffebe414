"""Two or more runs side by side: what each ships, and paired where both answered the same items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.contracts.kinds import Evaluation, Verdict, Verification
from components.report.render import render
from components.scoring.comparison import compare
from components.scoring.items import Score
from components.scoring.paired import compare_tasks, holm
from components.scoring.requests import Answer, Plan, read_answers
from components.scoring.tables import read_scores
from components.scoring.text_comparison import compare_texts


@dataclass(frozen=True)
class Run:
    """What is compared of a run; `settings` are the recipe's, by dotted name, where known."""

    name: str
    evaluation: Evaluation
    verification: Verification
    verdict: Verdict
    settings: Mapping[str, str] | None = None

    @property
    def ship(self) -> str:
        return str(self.verdict.facts["ship"])

    @property
    def shipped(self) -> dict[str, Any]:
        return dict(self.verification.facts["variants"][self.ship])

    def scores(self) -> dict[str, Score]:
        return {one.id: one for one in read_scores(self.verification.scores(self.ship))}

    def answers(self) -> dict[str, list[Answer]]:
        folder = self.verification.path / "tasks"
        files = {name: folder / name / f"{self.ship}.parquet" for name in self.plans()}
        return {name: read_answers(file) for name, file in files.items() if file.is_file()}

    def plans(self) -> dict[str, Plan]:
        facts = self.evaluation.facts
        names = facts.get("task_names", ())
        return {name: Plan.of(facts["tasks"][name]["plan"]) for name in names}


def side_by_side(runs: Sequence[Run]) -> dict[str, Any]:
    """Return JSON values: `runs`, `pairs` (each later run against the first), `slices`, `settings`.

    A pair is compared over the items that both answered, told apart by their ids, which are hashes
    of the rows' content: exact McNemar, of plain text a paired bootstrap; p after Holm over the
    pairs. Tasks are compared where both asked the same items in the same order.
    """
    pairs = [_pair(runs[0], other) for other in runs[1:]]
    judged = [pair for pair in pairs if "p" in pair]
    for pair, p in zip(judged, holm([pair["p"] for pair in judged]), strict=True):
        pair["p_holm"] = p
    return {
        "runs": [_facts(run) for run in runs],
        "pairs": pairs,
        "slices": _slices(runs),
        "settings": _settings(runs),
    }


def page(found: Mapping[str, Any]) -> str:
    """Return the comparison as one HTML file."""
    return render("compare.html.j2", found)


def _facts(run: Run) -> dict[str, Any]:
    shipped = run.shipped
    return {
        "name": run.name,
        "ship": run.ship,
        "promote": run.verdict.facts["promote"],
        "failed": [one["text"] for one in run.verdict.facts["reasons"] if not one["passed"]],
        "base": run.evaluation.facts["models"]["base"],
        "tuned": run.evaluation.facts["models"]["tuned"],
        "shipped": shipped["metrics"],
        "megabytes": shipped["bytes"] / 1e6,
        "worst_slice": shipped.get("slices", {}).get("words"),
        "bias": shipped.get("bias", {}).get("words"),
        "evaluation": run.evaluation.digest,
        "verification": run.verification.digest,
    }


def _pair(first: Run, other: Run) -> dict[str, Any]:
    """Compare what `other` ships with what `first` ships, on the items that both answered."""
    theirs, ours = first.scores(), other.scores()
    common = [name for name in ours if name in theirs]
    told: dict[str, Any] = {
        "model": other.name,
        "reference": first.name,
        "items": len(common),
        "of": [len(ours), len(theirs)],
    }
    kept = [(ours[name], theirs[name]) for name in common]
    answered = [pair for pair in kept if all(one.answer_tokens for one in pair)]
    read = [pair for pair in kept if all(one.text_tokens for one in pair)]
    same = [
        (a, b) for a, b in read if (a.text_tokens, a.text_bytes) == (b.text_tokens, b.text_bytes)
    ]
    if answered:
        found = compare([a for a, _ in answered], [b for _, b in answered])
        told |= {"measure": "accuracy", **found.facts(), "words": found.words()}
    elif same:
        texts = compare_texts([a for a, _ in same], [b for _, b in same])
        told |= {"measure": "bits_per_byte", **texts.facts(), "words": texts.words()}
    else:
        told["words"] = "not compared: no item was answered by both"
    return {**told, "tasks": _tasks(first, other)}


def _tasks(first: Run, other: Run) -> list[dict[str, Any]]:
    """Compare the tasks that both runs put to the same items, p after Holm over these."""
    ours, theirs = other.answers(), first.answers()
    plans = [
        plan
        for name, plan in other.plans().items()
        if name in ours
        and name in theirs
        and plan == first.plans().get(name)
        and plan.measures
        and [one.id for one in ours[name]] == [one.id for one in theirs[name]]
    ]
    return [one.facts() for one in compare_tasks(plans, ours, theirs)] if plans else []


def _slices(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return one row a slice with every run's figures, None where it has no such slice."""
    tables = [
        {
            (row["slicing"], row["group"]): row
            for row in run.shipped.get("slices", {}).get("slices", ())
        }
        for run in runs
    ]
    names = dict.fromkeys(name for table in tables for name in table)
    return [
        {"slicing": name[0], "group": name[1], "runs": [table.get(name) for table in tables]}
        for name in names
    ]


def _settings(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the settings that differ among the runs whose settings are known."""
    known = [run.settings for run in runs if run.settings is not None]
    names = dict.fromkeys(name for one in known for name in one)
    return [
        {"name": name, "runs": [None if r.settings is None else r.settings.get(name) for r in runs]}
        for name in names
        if len({one.get(name) for one in known}) > 1
    ]
