"""The sections of numbers: the models' table, plots, confusion matrix, slices, speed."""

import csv
from collections.abc import Mapping
from typing import Any

from components.report import plots
from components.report.line import TORCH, Line, Page

Built = dict[str, Any] | None


def models(page: Page) -> Built:
    """Return one row a model with its metrics, size (MB, None for torch) and speed."""
    return {"items": page.line.verification.facts["items"], "rows": model_rows(page)}


def model_rows(page: Page) -> list[dict[str, Any]]:
    line, exported = page.line, page.line.verification.facts["variants"]
    return [
        {
            "name": line.evaluation.facts.get("base_is", name) if name == "base" else name,
            "runtime": "torch fp32" if name in TORCH else ran_in(exported.get(name, {})),
            "megabytes": None if name in TORCH else exported[name]["bytes"] / 1e6,
            "metrics": line.metrics(name),
            "shipped": name == line.ship,
            "decode": decode(page.speeds, name),
        }
        for name in line.models
    ]


def ran_in(facts: Mapping[str, Any]) -> str:
    """Return what ran a file, and on which execution providers its nodes were."""
    nodes = facts.get("ran_on") or {}
    names = {name: name.removesuffix("ExecutionProvider") for name in nodes}
    if len(nodes) < 2:
        return ", ".join(["ONNX Runtime", *names.values()])
    return ", ".join(["ONNX Runtime", *(f"{nodes[one]} nodes {names[one]}" for one in nodes)])


def decode(speeds: Mapping[str, Any], model: str) -> float | None:
    """Return the tokens a second that a model writes, where they were measured."""
    found = speeds.get(model, {}).get("decode_tokens_per_s")
    return None if found is None else float(found)


def curve(page: Page) -> Built:
    return {**page.line.adapter.facts, "plot": plots.training_curve(curve_points(page.line))}


def curve_points(line: Line) -> list[dict[str, Any]]:
    """Return the training curve: step, loss, eval_loss (or None), learning_rate."""
    with line.adapter.curve.open(encoding="utf-8") as stream:
        return [
            {key: float(value) if value else None for key, value in row.items()}
            for row in csv.DictReader(stream)
        ]


def quality(page: Page) -> Built:
    """Plot what each file is worth over its size and, where it was measured, its speed."""
    rows = [row for row in model_rows(page) if row["megabytes"] is not None]
    plain = rows[0]["metrics"]["accuracy"] is None
    measure = "bits per byte of text" if plain else "accuracy (%), 95 % interval"
    points = [(row["name"], row["megabytes"], *judged_by(row["metrics"])) for row in rows]
    drawn = [plots.quality_over(points, "file size (MB)", measure)]
    measured = [row for row in model_rows(page) if row["decode"] is not None]
    if measured:
        points = [(row["name"], row["decode"], *judged_by(row["metrics"])) for row in measured]
        drawn.append(plots.quality_over(points, "tokens a second, batch 1", measure))
    return {"plots": drawn}


def judged_by(metrics: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return (value, low, high) to plot: accuracy in percent; of plain text its bits per byte."""
    if metrics["accuracy"] is None:
        bits = float(metrics["bits_per_byte"])
        return bits, bits, bits
    low, high = metrics["accuracy_interval"]
    return 100 * metrics["accuracy"], 100 * low, 100 * high


def speed(page: Page) -> Built:
    """Return one row a model and batch size; nothing in the artefact, which holds no times."""
    rows = [
        {"name": name, "batch": size, **found}
        for name in page.line.models
        for size, found in page.speeds.get(name, {}).get("batches", {}).items()
    ]
    return {"rows": rows} if rows else None


def confusion(page: Page) -> Built:
    """Return labels and counts[right][answered] of the shipped file where labels are fixed."""
    choices = {tuple(row["choices"] or ()) for row in page.line.held_out}
    if len(choices) != 1 or choices == {()}:
        return None
    labels = list(choices.pop())
    counts = [[0] * len(labels) for _ in labels]
    for score in page.line.scores(page.line.ship):
        counts[score.target][score.choice] += 1
    return {"ship": page.line.ship, "labels": labels, "counts": counts}


def slices(page: Page) -> Built:
    """Return the shipped file's figures by slice, beside base and tuned."""
    shipped = page.line.slices(page.line.ship)
    if shipped is None or not shipped["slices"]:
        return None
    base = page.line.slices("base")
    before = {(row["slicing"], row["group"]): row for row in base["slices"]} if base else {}
    rows = [
        {**row, "base": before.get((row["slicing"], row["group"]))} for row in shipped["slices"]
    ]
    return {
        "ship": page.line.ship,
        "plain": all(row["accuracy"] is None for row in rows),
        "rows": rows,
        "words": {
            name: found["words"] for name in page.line.models if (found := page.line.slices(name))
        },
        "harmed": shipped["harmed"],
        "compared": shipped["compared"],
        "worst": shipped["worst"],
    }
