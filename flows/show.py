"""What a person sees of a run: one table, the verdict with its reasons, and what to do next."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.progress import minutes
from flows.show_tasks import tasks_tables
from flows.summary import LineFacts, ModelFacts, RunFacts, TickFacts

MARKS = {True: ("✓", "green"), False: ("✗", "red")}


def show(facts: LineFacts, console: Console, *, details: bool) -> None:
    """Print the facts; `details` adds stages, hashes and ids."""
    if facts.models:
        console.print(models_table(facts))
    for table in tasks_tables(facts):
        console.print(table)
    for line in verdict_lines(facts):
        console.print(line, soft_wrap=True)
    for line in slice_lines(facts):
        console.print(line, soft_wrap=True)
    if facts.run:
        for line in run_lines(facts.run):
            console.print(line, soft_wrap=True)
        if details:
            console.print(stages_table(facts.run))
    if details and facts.retrain:
        for line in tick_lines(facts.retrain):
            console.print(line, soft_wrap=True)
    if details and any(model.speed for model in facts.models.values()):
        console.print(speed_table(facts))
    if details and (shown := judged_model(facts)) and shown[1].slices:
        console.print(slices_table(*shown))
    if details and facts.artefacts:
        console.print(artefacts_table(facts))
    console.print()
    for line in next_commands(facts):
        console.print(line, soft_wrap=True)


def models_table(facts: LineFacts) -> Table:
    """Return one row a model: accuracy with its 95 % interval, perplexities, size and speed.

    Two perplexities: of the right answers after their prompts, and of the rows' own text.
    """
    title = f"{facts.recipe}: base, tuned and the exported files"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in ("model", "accuracy", "95 %", "answer\nppl", "text\nppl", "MB", "tokens/s"):
        table.add_column(column, justify="left" if column == "model" else "right", no_wrap=True)
    ship = facts.verdict.ship if facts.verdict else None
    for name, model in facts.models.items():
        style = "bold" if name == ship else None
        table.add_row(f"{name} (shipped)" if name == ship else name, *_cells(model), style=style)
    return table


def _cells(model: ModelFacts) -> list[str]:
    interval = model.accuracy_interval
    return [
        _number(model.accuracy, 3),
        f"{interval[0]:.3f} … {interval[1]:.3f}" if interval else "–",
        _number(model.answer_perplexity, 3),
        _number(model.perplexity, 1),
        _number(model.bytes / 1e6 if model.bytes else None, 1),
        _number(model.tokens_per_second, 1),
    ]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def verdict_lines(facts: LineFacts) -> list[Text]:
    """Return the verdict with its reasons, and the model version."""
    lines: list[Text] = []
    if facts.verdict:
        promote = facts.verdict.promote
        said = "may become champion" if promote else "does not become champion"
        lines.append(
            Text(f"verdict: {facts.verdict.ship} {said}", style=f"bold {MARKS[promote][1]}")
        )
        for reason in facts.verdict.reasons:
            mark, colour = MARKS[reason.passed]
            lines.append(Text.assemble((f"  {mark} ", colour), reason.text))
    if facts.registration:
        known = facts.registration
        aliases = ", ".join(known.aliases) or "no alias"
        lines.append(Text(f"model:   {known.name} version {known.version} ({aliases})", "bold"))
    return lines


def judged_model(facts: LineFacts) -> tuple[str, ModelFacts] | None:
    """Return the file to ship, else the last model that is known."""
    if facts.verdict and facts.verdict.ship in facts.models:
        return facts.verdict.ship, facts.models[facts.verdict.ship]
    return next(reversed(facts.models.items()), None)


def slice_lines(facts: LineFacts) -> list[Text]:
    """Return what the file to ship does worst on, and on what it does worse than the base."""
    shown = judged_model(facts)
    if shown is None or shown[1].worst_slice is None:
        return []
    name, model = shown
    lines = [Text(f"slices:  {name}: {model.worst_slice}")]
    if model.worse_slices:
        lines.append(Text(f"         worse than base: {', '.join(model.worse_slices)}", "red"))
    return lines


def speed_table(facts: LineFacts) -> Table:
    """Return one row a model and batch size: what was measured when verification last ran here."""
    title = "speed on this machine, when verification last ran here"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    heads = ("model", "batch", "prefill\ntokens/s", "decode\ntokens/s", "request\np50 … p95 s")
    for column in (*heads, "token\np50 … p95 ms", "memory\nMB"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, model in facts.models.items():
        for size, one in model.speed.items():
            table.add_row(
                name,
                size,
                _number(one.prefill_tokens_per_s, 0),
                _number(one.decode_tokens_per_s, 1),
                f"{one.latency_p50_s:.3f} … {one.latency_p95_s:.3f}",
                f"{1000 * one.token_p50_s:.1f} … {1000 * one.token_p95_s:.1f}",
                _number(one.memory_bytes / 1e6 if one.memory_bytes is not None else None, 0),
            )
    return table


def slices_table(name: str, model: ModelFacts) -> Table:
    """Return one row a slice of the items, with 95 % intervals."""
    table = Table(title=f"{name} by slice", title_justify="left", box=SIMPLE_HEAD)
    for column in ("slice", "items", "accuracy", "answer ppl", "bits/byte"):
        table.add_column(column, justify="left" if column == "slice" else "right")
    for one in model.slices:
        table.add_row(
            f"{one.slicing}: {one.group}",
            str(one.items),
            _interval(one.accuracy, one.accuracy_interval),
            _interval(one.answer_perplexity, one.answer_perplexity_interval),
            _interval(one.bits_per_byte, one.bits_per_byte_interval),
        )
    return table


def _interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or interval is None:
        return _number(value, 3)
    return f"{value:.3f} ({interval[0]:.3f} … {interval[1]:.3f})"


def run_lines(run: RunFacts) -> list[Text]:
    """Return how the run went; a failed one tells why in the end."""
    commit = f"{(run.git.commit or 'none')[:12]}{' with changes' if run.git.dirty else ''}"
    return [
        Text(f"run:     {run.status}, begun {run.started}, git {commit}"),
        Text(
            f"         MLflow {run.mlflow_run_id or '–'}, Prefect {run.prefect_flow_run_id or '–'}"
        ),
        *(Text(f"failed:  {name}: {fault.message}", "red") for name, fault in run.faults.items()),
    ]


def tick_lines(tick: TickFacts) -> list[Text]:
    """Return what the last tick of the schedule decided, and why."""
    start = f" ({tick.start})" if tick.start else ""
    head = Text(f"retrain: {tick.action}{start}, decided {tick.at}")
    return [head, *(Text(f"         {reason}") for reason in tick.reasons)]


def stages_table(run: RunFacts) -> Table:
    table = Table("stage", "outcome", "time", "peak MB", "made by run")
    for name, stage in run.stages.items():
        time = minutes(stage.seconds) if stage.seconds is not None else "–"
        peak = f"{stage.peak_rss_bytes / 1e6:.0f}" if stage.peak_rss_bytes else "–"
        made_by = "this one" if stage.outcome == "ran" else stage.made_by or "–"
        table.add_row(name, stage.outcome, time, peak, made_by)
    return table


def artefacts_table(facts: LineFacts) -> Table:
    table = Table("artefact", "MB", "manifest sha256", "DVC md5")
    for artefact in facts.artefacts.values():
        table.add_row(
            artefact.path,
            f"{artefact.bytes / 1e6:.1f}",
            artefact.manifest_sha256[:16],
            (artefact.dvc_md5 or "–")[:16],
        )
    return table


def next_commands(facts: LineFacts) -> list[Text]:
    """Return what one would do next, as commands to copy."""
    rows = [
        (f"tuneline show {facts.recipe}", "stages, hashes and ids of this run"),
        ("make ui", "this run in the MLflow and the Prefect UI"),
        ("dvc repro", "the other door: the same stages, the same cache"),
    ]
    if facts.registration:
        known = facts.registration
        best = next((a for a in ("champion", *known.aliases) if a in known.aliases), None)
        place = f"@{best}" if best else f"/{known.version}"
        rows.insert(0, (f"tuneline chat {known.name}{place}", "ask the registered model"))
        rows.append((f'mlflow.pyfunc.load_model("models:/{known.name}{place}")', "from Python"))
    width = max(len(command) for command, _ in rows if not command.startswith("mlflow"))
    return [Text.assemble((f"  {command:<{width}}", "cyan"), f"  {what}") for command, what in rows]
