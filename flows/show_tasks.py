"""Tasks and guards as tables at the terminal: one row a task, by its first measure."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table

from flows.summary import LineFacts
from flows.task_facts import TaskFacts

REFERENCES = {"base": "base", "base_fewshot": "few-\nshot", "tuned": "tuned"}
"""The models beside the file to ship and the champion, and how they are called. The other exported
files stand in the JSON.
"""


def tasks_tables(facts: LineFacts) -> Iterator[Table]:
    """Yield a table of the tasks and one of the guards, where there are any."""
    ship = facts.verdict.ship if facts.verdict else None
    for title, guard in (("tasks", False), ("guards: nothing else may get worse", True)):
        tasks = {name: one for name, one in facts.tasks.items() if one.guard == guard}
        if tasks:
            yield _table(title, tasks, ship)


def _table(title: str, tasks: dict[str, TaskFacts], ship: str | None) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    answered = {model for task in tasks.values() for model in task.models}
    columns = {model: name for model, name in REFERENCES.items() if model in answered}
    for text in ("task", "measure"):
        table.add_column(text, no_wrap=True)
    heads = [*columns.values()]
    heads += [ship, "95 %"] if ship in answered else []
    heads += ["champion"] if "champion" in answered else []
    for head in heads:
        table.add_column(str(head), justify="right", no_wrap=True)
    for name, task in tasks.items():
        cells = [_value(task, model) for model in columns]
        cells += [_value(task, str(ship)), _interval(task, str(ship))] if ship in answered else []
        cells += [_value(task, "champion")] if "champion" in answered else []
        table.add_row(name, task.measure, *cells)
    return table


def _value(task: TaskFacts, model: str) -> str:
    return f"{task.models[model][0]:.3f}" if model in task.models else "–"


def _interval(task: TaskFacts, model: str) -> str:
    if model not in task.models:
        return "–"
    _, low, high = task.models[model]
    return f"{low:.3f} … {high:.3f}"
