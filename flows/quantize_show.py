"""What a search for few bits found: a table, JSON and a plot."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from components.contracts.artefacts import write_json
from components.export.candidates import settings_of
from components.export.settings import ExportSettings
from components.quantization.front import Goal, Tried, front
from flows.quantize_measure import FIGURES, SPLIT
from flows.quantize_write import flow

SHORT = dict(zip(FIGURES, ("points", "answers", "text"), strict=True))
"""The heads of the table: it has to fit 80 columns."""


def show(
    tried: Sequence[Tried],
    margins: dict[str, float],
    told: dict[str, Any],
    files: Sequence[Path],
    console: Console,
) -> None:
    """Print what was tried, the smallest first, and the settings that won."""
    table = Table(box=SIMPLE_HEAD, padding=0)
    figures = [name for name in FIGURES if any(name in one.measured.changes for one in tried)]
    short = (SHORT[name] for name in figures)
    heads = ("", "MB", "bits", *short, "prefill", "decode", "")
    for at, head in enumerate(heads):
        beside = at in (0, len(heads) - 1)
        table.add_column(head, justify="left" if beside else "right", no_wrap=True)
    for one in sorted(tried, key=lambda one: one.measured.bytes):
        table.add_row(*cells(one, figures), style="bold" if one.chosen else None)
    console.print(table)
    limits = ", ".join(f"{name} {100 * margins[name]:g} %" for name in figures)
    console.print(
        "Losses against full precision (points of accuracy, rises of perplexity in %) on the "
        f"{SPLIT} split; margins: {limits}. The gate's items were not looked at.",
        style="dim",
    )
    if told["chosen"] is not None:
        chosen = told["chosen"]
        console.print(f"{chosen['variant']}: {flow(chosen['settings'])}", soft_wrap=True)
    for file in files:
        console.print(str(file), highlight=False, soft_wrap=True, style="dim")


def cells(one: Tried, figures: Sequence[str]) -> list[str]:
    """Return the row of a candidate."""
    found = one.measured
    mark = "chosen" if one.chosen else "within" if one.within else "beyond"
    return [
        found.name,
        f"{found.bytes / 1e6:.0f}",
        f"{found.bits:.2f}",
        *(
            f"{100 * found.changes[name].value + 0.0:+.2f}" if name in found.changes else "–"
            for name in figures
        ),
        f"{found.prefill:.0f}",
        f"{found.decode:.1f}",
        mark,
    ]


def as_dict(
    recipe: str,
    export: ExportSettings,
    tried: Sequence[Tried],
    margins: dict[str, float],
    goal: Goal,
) -> dict[str, Any]:
    """Return the search as JSON values; `front` names what nothing else beats."""
    winner = next((one.measured.name for one in tried if one.chosen), None)
    return {
        "recipe": recipe,
        "split": SPLIT,
        "for": goal,
        "margins": margins,
        "front": sorted(front(one.measured for one in tried)),
        "candidates": [
            {
                **asdict(one.measured),
                "within": one.within,
                "screened": one.screened,
                "chosen": one.chosen,
            }
            for one in tried
        ],
        "chosen": None if winner is None else settings_told(winner, export),
    }


def settings_told(name: str, export: ExportSettings) -> dict[str, Any]:
    """Return what stands in a recipe for a candidate: only what is no default."""
    found = settings_of(name, export)
    (variant,) = found.variants
    told = getattr(found, variant).model_dump(mode="json", exclude_defaults=True)
    return {"name": name, "variant": variant, "settings": told}


def write_front(folder: Path, told: dict[str, Any]) -> list[Path]:
    """Write the front as JSON and as a plot; return both files."""
    from components.report.front_plot import quality_size_speed

    folder.mkdir(parents=True, exist_ok=True)
    numbers, plot = folder / "front.json", folder / "front.svg"
    write_json(numbers, told)
    plot.write_text(quality_size_speed(told), encoding="utf-8")
    return [numbers, plot]
