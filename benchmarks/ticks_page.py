"""What should happen in the ticks of `ticks.py`, and the page that tells what did."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Arrival:
    """Rows that come before tick `at`, and what that tick should decide."""

    at: int
    name: str
    count: int
    long: bool
    state: str
    told: str


@dataclass(frozen=True)
class Tick:
    """One tick as the server has it."""

    number: int
    planned: str
    seconds: float
    state: str
    reasons: str
    champion: str


def arrivals(options: argparse.Namespace) -> list[Arrival]:
    return [
        Arrival(options.at, "more.jsonl", 200, False, "FineTuned", "200 rows of the same kind"),
        Arrival(options.drift_at, "long.jsonl", 60, True, "Evaluated", "60 rows, long ones"),
    ]


def wanted(options: argparse.Namespace, number: int) -> str:
    """Return the state that a tick should end in."""
    return next((a.state for a in arrivals(options) if a.at == number), "Skipped")


def markdown(ticks: Sequence[Tick], options: argparse.Namespace) -> str:
    """Return the log as a table."""
    told = {arrival.at: f"{arrival.told} came" for arrival in arrivals(options)}
    head = "| tick | planned (UTC) | what came before it | decision | why | champion | seconds |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {t.number} | {t.planned} | {told.get(t.number, '')} | {t.state} | {t.reasons} "
        f"| {t.champion} | {t.seconds:g} |"
        for t in ticks
    ]
    return "\n".join(lines)


def result(ticks: Sequence[Tick], options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures: were the decisions the expected ones, and how long a skip took."""
    skipped = [t.seconds for t in ticks if t.state == "Skipped"]
    changes = sum(a.champion != b.champion for a, b in pairwise(ticks))
    return {
        "ticks": len(ticks),
        "as_expected": all(t.state == wanted(options, t.number) for t in ticks),
        "champion_changes": changes,
        "skip_seconds_median": median(skipped) if skipped else None,
        "skip_seconds_max": max(skipped, default=None),
    }


def write(file: Path, table: str, found: dict[str, Any], options: argparse.Namespace) -> None:
    """Keep the log as a page."""
    file.write_text(
        "# Ticks of a schedule\n\n"
        f"`python benchmarks/ticks.py FOLDER`: {found['ticks']} ticks of a deployment of "
        f"`flows/retrain.py:retrain` on the recipe `tiny`, planned every {options.interval} s on a "
        "Prefect server of its own with one worker, nobody attending. What each state means is in "
        "[retraining](retraining.md). Seconds are those of the flow run, without the start of its "
        f"process, on two cores with other work on them ({datetime.now(UTC):%Y-%m-%d}).\n\n"
        f"{table}\n\n"
        f"Decisions as expected: {'yes' if found['as_expected'] else 'no'}. Changes of the "
        f"champion: {found['champion_changes']}. A skipped tick took "
        f"{found['skip_seconds_median']} s (median), at most {found['skip_seconds_max']} s.\n",
        encoding="utf-8",
    )
