"""How far the kept rows are from the last data that was accepted."""

from typing import Any

from components.validation.detect.drift import compare, profile
from components.validation.outcome import Outcome

FIGURES = {
    "psi_length": "PSI of length",
    "psi_label": "PSI of labels",
    "psi_vocabulary": "PSI of vocabulary",
    "ks_length": "KS of length",
}
"""The figures that are bounded by `max_psi` and `max_ks`, by the names that people read."""


def profile_of(outcome: Outcome) -> dict[str, Any]:
    """Return the profile of the kept rows; rows with free answers have no labels."""
    rows, kept = outcome.rows, outcome.kept
    targets = rows.numbers("target", kept).tolist()
    answers = rows.strings("answer", kept).to_pylist()
    labels = [a if t >= 0 else None for a, t in zip(answers, targets, strict=True)]
    return profile(rows.strings("text", kept), labels)


def drift_of(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, float]:
    """Return the figures of drift, rounded; none before anything was accepted."""
    if old is None:
        return {}
    return {name: round(figure, 6) for name, figure in compare(old, new).items()}


def bounded(drift: dict[str, float]) -> dict[str, float]:
    """Return the figures that have a bound, by the names that people read."""
    return {FIGURES[name]: figure for name, figure in drift.items() if name in FIGURES}
