"""Plots as SVG text: the same numbers give the same bytes."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#8a93a6"
BLUE, ORANGE, GREEN = "#4c8df6", "#f0883e", "#3fb27f"


def training_curve(points: Sequence[dict[str, Any]]) -> str:
    """Plot loss, validation loss and learning rate over steps.

    `points` have step, loss, eval_loss (or None) and learning_rate.
    """
    figure = new_figure(6.4, 3.2)
    axes = figure.add_subplot()
    steps = [p["step"] for p in points]
    axes.plot(steps, [p["loss"] for p in points], color=BLUE, lw=1, label="loss")
    marks = [(p["step"], p["eval_loss"]) for p in points if p["eval_loss"] is not None]
    if marks:
        axes.plot(*zip(*marks, strict=True), "o-", color=ORANGE, ms=4, label="validation loss")
    axes.set(xlabel="step", ylabel="loss (nats a trained token)", yscale="log")
    rate = axes.twinx()
    rate.plot(steps, [p["learning_rate"] for p in points], color=INK, lw=0.8, ls=":")
    rate.set_ylabel("learning rate (dotted)", color=INK)
    rate.tick_params(colors=INK)
    axes.legend(frameon=False, labelcolor=INK)
    return svg(figure)


def quality_over_size(
    names: Sequence[str],
    megabytes: Sequence[float],
    quality: Sequence[tuple[float, float, float]],
    measure: str,
) -> str:
    """Plot `measure` (value, low, high) of each exported file over its size in MB."""
    figure = new_figure(6.4, 3.2)
    axes = figure.add_subplot()
    values = [q[0] for q in quality]
    errors = [[q[0] - q[1] for q in quality], [q[2] - q[0] for q in quality]]
    axes.errorbar(megabytes, values, yerr=errors, fmt="o", color=BLUE, capsize=3)
    for name, size, value in zip(names, megabytes, values, strict=True):
        axes.annotate(name, (size, value), xytext=(7, 4), textcoords="offset points", color=INK)
    axes.set(xlabel="file size (MB)", ylabel=measure)
    axes.set_xlim(0, 1.15 * max(megabytes))
    return svg(figure)


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Plot counts[right label][answer] as a matrix."""
    figure = new_figure(3.8, 3.4)
    axes = figure.add_subplot()
    axes.imshow(counts, cmap="Blues")
    top = max(max(row) for row in counts) or 1
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            colour = "white" if count > top / 2 else "#223"
            axes.text(x, y, str(count), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="answer", ylabel="right label")
    return svg(figure)


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty transparent figure (inches), readable on light and dark."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="none")


def svg(figure: "Figure") -> str:
    """Return the figure as an SVG element without a date or random ids."""
    import matplotlib

    for axes in figure.axes:
        axes.set_facecolor("none")
        axes.tick_params(colors=INK)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        for spine in axes.spines.values():
            spine.set_color(INK)
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "tuneline", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
