"""The plots' numbers as CSV, for `dvc plots show` and `dvc plots diff`."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.report.figures import confusion, curve_points, model_rows
from components.report.line import Page


def write_tables(folder: Path, page: Page) -> None:
    """Write `curve.csv`, `models.csv` and, where there are such figures, `confusion.csv` (one row
    an item) and `slices.csv`.
    """
    folder.mkdir()
    _write(folder / "curve.csv", curve_points(page.line))
    _write(folder / "models.csv", [_model(row) for row in model_rows(page)])
    if matrix := confusion(page):
        labels = matrix["labels"]
        items = [
            {"right": labels[one.target], "answered": labels[one.choice]}
            for one in page.line.scores(page.line.ship)
        ]
        _write(folder / "confusion.csv", items)
    if parts := page.line.slices(page.line.ship):
        columns = ("items", "accuracy", "answer_perplexity", "bits_per_byte")
        rows = [
            {"slice": f"{row['slicing']}: {row['group']}", **{name: row[name] for name in columns}}
            for row in parts["slices"]
        ]
        _write(folder / "slices.csv", rows)


def _model(row: dict[str, Any]) -> dict[str, Any]:
    names = ("accuracy", "answer_perplexity", "perplexity", "bits_per_byte")
    figures = {name: row["metrics"][name] for name in names}
    return {"model": row["name"], "megabytes": row["megabytes"], **figures}


def _write(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else ["empty"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
