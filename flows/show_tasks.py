"""The tasks as a table at the terminal: one row a task, one column a model."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from flows.summary import LineFacts
from flows.task_facts import TaskFacts


def tasks_table(facts: LineFacts) -> Table:
    """Return every task and guard by its first measure; the file to ship also has its interval."""
    table = Table(title="tasks and guards", title_justify="left", box=SIMPLE_HEAD)
    models = list(dict.fromkeys(model for task in facts.tasks.values() for model in task.models))
    ship = facts.verdict.ship if facts.verdict else None
    for column in ("task", "measure", "items", *models):
        table.add_column(
            column, justify="left" if column in ("task", "measure") else "right", no_wrap=True
        )
    for name, task in facts.tasks.items():
        label = f"{name} (guard)" if task.guard else name
        cells = [_cell(task, model, interval=model == ship) for model in models]
        table.add_row(label, task.measure, str(task.items), *cells)
    return table


def _cell(task: TaskFacts, model: str, *, interval: bool) -> str:
    if model not in task.models:
        return "–"
    value, low, high = task.models[model]
    return f"{value:.3f} ({low:.3f} … {high:.3f})" if interval else f"{value:.3f}"
