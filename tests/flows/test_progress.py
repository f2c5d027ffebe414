"""Plain lines are few, and a door above can read them."""

import io
import logging

from rich.console import Console

from flows.progress import LINE, Lines, minutes
from flows.terminal import Terminal


def test_lines_are_few_and_carry_the_loss() -> None:
    out = io.StringIO()
    lines = Lines(out, every=60.0)
    for step in range(1, 101):
        lines.metrics(step, {"loss": 1 / step, "grad_norm": 3.0})
        lines.progress("train", step, 100)

    said = out.getvalue().splitlines()
    assert len(said) == 1  # the first; the rest came within the same minute
    assert "loss 1.000" in said[0]


def test_a_slow_step_says_when_it_is_done() -> None:
    out = io.StringIO()
    lines = Lines(out, every=0.0)
    lines.progress("train", 1, 2)
    lines.progress("train", 2, 2)

    assert out.getvalue().splitlines()[-1] == "  · train: 2/2 (100 %)"


def test_every_line_of_progress_can_be_read_again() -> None:
    out = io.StringIO()
    lines = Lines(out, every=0.0)
    lines.metrics(1, {"loss": 0.25})
    lines.progress("evaluate tuned", 3, 8)

    found = LINE.match(out.getvalue().rstrip("\n"))
    assert found is not None
    assert (found["label"], found["done"], found["total"]) == ("evaluate tuned", "3", "8")


def test_durations_read_well() -> None:
    assert [minutes(s) for s in (4.2, 113, 7500)] == ["4 s", "1:53", "2:05:00"]


def test_the_terminal_shows_notes_and_outcomes_but_no_noise() -> None:
    console = Console(file=io.StringIO(), width=120)
    logger = logging.getLogger("prefect.task_runs")
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with Terminal(console):
            for message in (
                "Running stage 'train@toy':",
                "  warnings.warn(",
                "  · step 44: validation loss 0.1",
                "Finished in state Ran('DVC: ran', type=COMPLETED)",
            ):
                logger.info(message, extra={"task_run_name": "train"})
    finally:
        logger.setLevel(level)

    shown = [line.split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert shown == [
        ["train", "step", "44:", "validation", "loss", "0.1"],
        ["train", "ran", "0", "s"],
    ]
