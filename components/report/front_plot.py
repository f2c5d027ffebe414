"""Quality, size and speed of ways to round a model, as one plot."""

from collections.abc import Mapping
from typing import Any

from components.report.plots import BLUE, GREEN, INK, new_figure, svg

SMALLEST, LARGEST = 20.0, 220.0
"""Areas of the marks (points²) of the slowest and the fastest file."""


def quality_size_speed(told: Mapping[str, Any]) -> str:
    """Plot the largest loss of each candidate over its size; the larger a mark, the faster.

    `told` is what `tuneline quantize` writes as JSON. A line joins those that no other beats in
    size and loss; the chosen one is green, those that were measured on part of the rows hollow.
    """
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    points = [point(one) for one in told["candidates"]]
    fastest = max(one["decode"] for one in told["candidates"])
    for one, (size, loss) in zip(told["candidates"], points, strict=True):
        colour = GREEN if one["chosen"] else BLUE
        area = SMALLEST + (LARGEST - SMALLEST) * one["decode"] / fastest
        face = "none" if one["screened"] else colour
        axes.scatter([size], [loss], s=area, edgecolors=colour, facecolors=face)
        axes.annotate(
            one["name"], (size, loss), xytext=(8, 3), textcoords="offset points", color=INK, size=7
        )
    front = sorted(p for p in points if not any(beats(other, p) for other in points))
    axes.plot(*zip(*front, strict=True), color=INK, lw=0.8, ls=":")
    axes.axhline(100 * min(told["margins"].values()), color=INK, lw=0.8, ls="--")
    axes.set(xlabel="file size (MB); mark: tokens a second", ylabel="largest loss (%)")
    axes.set_xlim(0, 1.3 * max(size for size, _ in points))
    return svg(figure)


def point(one: Mapping[str, Any]) -> tuple[float, float]:
    """Return size in MB and the largest loss in percent."""
    losses = [change["value"] for change in one["changes"].values()]
    return one["bytes"] / 1e6, 100 * max(losses, default=0.0)


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether `one` is nowhere worse than `other` and somewhere better."""
    return one != other and one[0] <= other[0] and one[1] <= other[1]
