"""A tick in words: the page of Prefect's artefact, lines for the terminal, tags for MLflow."""

from components.retraining.facts import Facts
from flows.retrain_tick import Tick

TAG = "retrain."
MAX_TAG = 4000


def lines(recipe: str, tick: Tick) -> list[str]:
    """Return what a person reads at the terminal."""
    begun = f", beginning from {beginning(tick)}" if tick.decision.start else ""
    return [
        f"{recipe}: {tick.decision.action}{begun}",
        *(f"  {reason}" for reason in tick.decision.reasons),
    ]


def markdown(recipe: str, tick: Tick) -> str:
    """Return the page of the Prefect artefact: the decision, its reasons, what was known."""
    reasons = "\n".join(f"- {reason}" for reason in tick.decision.reasons)
    rows = "\n".join(f"| {name} | {value} |" for name, value in figures(tick.facts).items())
    return (
        f"# {recipe}: {tick.decision.action}\n\n{reasons}\n\n"
        f"| what | |\n|---|---|\n{rows}\n\nDecided {tick.at}"
        + (f", beginning from {beginning(tick)}" if tick.decision.start else "")
        + ".\n"
    )


def figures(facts: Facts) -> dict[str, str]:
    """Return what was known, as names and figures."""
    found: dict[str, str] = {}
    if facts.champion is not None:
        found["champion"] = f"version {facts.champion.version}"
        found["its age"] = f"{facts.champion.age_days:.1f} days"
    found["inputs changed"] = "yes" if facts.changed else "no"
    if facts.data is not None:
        found["rows"] = f"{facts.data.rows:,}"
        found["new rows"] = f"{facts.data.new_rows:,}"
        found["rows gone"] = f"{facts.data.gone_rows:,}"
        found |= {name: f"{figure:.4g}" for name, figure in facts.data.drift.items()}
        if facts.data.label_shift is not None:
            found["label shift"] = f"{100 * facts.data.label_shift:.1f} points"
    if facts.budget is not None:
        kind = "accelerator" if facts.budget.accelerator else "training"
        found[f"{kind} hours this month"] = f"{facts.budget.used_hours:.2f}"
        found["hours of the last fine-tune"] = f"{facts.budget.forecast_hours:.2f}"
    return found


def tags(tick: Tick) -> dict[str, str]:
    """Return the tags of the MLflow run that the decision belongs to."""
    told = {
        "decision": tick.decision.action,
        "reasons": "; ".join(tick.decision.reasons)[:MAX_TAG],
        "at": tick.at,
        "start": tick.decision.start,
        "prefect.flow_run_id": tick.prefect_flow_run_id,
    }
    return {f"{TAG}{name}": value for name, value in told.items() if value is not None}


def beginning(tick: Tick) -> str:
    return "the champion's adapter" if tick.decision.start == "champion" else "a fresh adapter"
