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


def quality_over(
    points: Sequence[tuple[str, float, float, float, float]], across: str, measure: str
) -> str:
    """Plot points (name, x, value, low, high): `measure` over what `across` names."""
    figure = new_figure(5.0, 3.2)
    axes = figure.add_subplot()
    names, places, values, lows, highs = zip(*points, strict=True)
    errors = [
        [value - low for value, low in zip(values, lows, strict=True)],
        [high - value for value, high in zip(values, highs, strict=True)],
    ]
    axes.errorbar(places, values, yerr=errors, fmt="o", color=BLUE, capsize=3)
    for name, x, value in zip(names, places, values, strict=True):
        axes.annotate(name, (x, value), xytext=(7, 4), textcoords="offset points", color=INK)
    axes.set(xlabel=across, ylabel=measure)
    axes.set_xlim(0, 1.2 * max(places))
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
