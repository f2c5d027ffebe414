"""`tuneline plan`: what a training will need, before it is paid for."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from components.contracts.artefacts import need_space
from components.contracts.errors import TunelineError
from components.contracts.events import Context, Silent
from components.contracts.kinds import BaseModelFolder, Tokens
from components.training.advice import Change, changes
from components.training.cost import Rates, energy_kwh, money
from components.training.forecast import Forecast, forecast
from components.training.machine import resident_bytes, room_bytes
from components.training.probe import Duration, Probe, duration, probe
from components.training.settings import TrainingSettings
from flows.environment import find_root, prepare, scratch_folder, stay_offline
from flows.made import open_made, quiet_libraries
from flows.progress import listener, minutes
from flows.recipe import load_recipe

GB = 1e9


class TooLargeError(TunelineError):
    """A training needs more memory than there is."""

    exit_code = 3


@dataclass(frozen=True)
class Plan:
    """A forecast, the bytes there are for it, and what was measured if it fits."""

    recipe: str
    forecast: Forecast
    room: int
    advice: list[Change]
    measured: Probe | None = None
    time: Duration | None = None

    @property
    def fits(self) -> bool:
        return self.forecast.needed <= self.room


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe: recipes/RECIPE.yaml.")],
    probe_steps: Annotated[
        int, typer.Option(min=0, help="Steps to time; 0: forecast only, nothing is computed.")
    ] = 5,
    memory_gb: Annotated[
        float | None, typer.Option(help="Memory to plan for, instead of what is free here.")
    ] = None,
    watts: Annotated[float | None, typer.Option(help="Power drawn in training.")] = None,
    price_per_kwh: Annotated[float | None, typer.Option(help="In any currency.")] = None,
    price_per_hour: Annotated[float | None, typer.Option(help="Of the machine.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell RECIPE's tokens, steps, memory, time and cost without training; refuse what can't fit.

    Exit code 3: it does not fit, and what to change is told.
    """
    root = find_root(Path.cwd())
    prepare(root)
    stay_offline()
    settings = load_recipe(root, recipe).training
    base, tokens = open_made(root, recipe)
    quiet_libraries()
    context = Context(root, scratch_folder(root, recipe), listener(sys.stderr))
    room = None if memory_gb is None else int(memory_gb * GB)
    plan = make_plan(recipe, base, tokens, settings, context, probe_steps, room)
    rates = Rates(watts, price_per_kwh, price_per_hour)
    if as_json:
        print(json.dumps(as_dict(plan, rates), indent=2))
    else:
        show(plan, rates, Console())
    if not plan.fits:
        raise refusal(plan)
    need_space(context.scratch, plan.forecast.disk_bytes, "training (checkpoints and adapter)")


def make_plan(
    recipe: str,
    base: BaseModelFolder,
    tokens: Tokens,
    settings: TrainingSettings,
    context: Context,
    probe_steps: int,
    room: int | None,
) -> Plan:
    """Forecast; look for what to change if it does not fit, else time a few steps."""
    from components.model.device import pick_device

    expected = forecast(base, tokens, settings, runtime=0)
    runtime = resident_bytes()  # now that all is imported, and no tensor is held
    expected = forecast(base, tokens, settings, runtime)
    room = room_bytes(pick_device()) if room is None else room
    if expected.needed > room:
        return Plan(recipe, expected, room, changes(base, tokens, settings, runtime, room))
    if not probe_steps:
        return Plan(recipe, expected, room, [])
    quiet = Context(context.root, context.scratch, Steps(context.events))
    measured = probe(base, tokens, settings, steps=probe_steps, context=quiet)
    time = duration(measured, expected)
    return Plan(recipe, expected, room, [], measured, time)


class Steps(Silent):
    """Passes on how far the probe has come, and none of its losses."""

    def __init__(self, events: Any) -> None:
        self.events = events

    def progress(self, label: str, done: int, total: int) -> None:
        self.events.progress(label, done, total)


def refusal(plan: Plan) -> TooLargeError:
    """Return the error that says what was found and what would fit."""
    needed, room = plan.forecast.needed, plan.room
    ways = [
        f"training.{', '.join(f'{k}: {json.dumps(v)}' for k, v in change.settings.items())} "
        f"({gb(change.needed)}; {change.price})"
        for change in plan.advice
    ]
    return TooLargeError(
        f"training {plan.recipe} needs about {gb(needed)}, but there is {gb(room)}",
        fix="\n  → ".join(ways) or "use a smaller base model, or a machine with more memory",
    )


def show(plan: Plan, rates: Rates, console: Console) -> None:
    """Print the plan as a table."""
    table = Table(box=SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for row in (*work(plan.forecast), *memory(plan), *times(plan, rates)):
        table.add_row(*row)
    console.print(table)


def work(found: Forecast) -> Iterator[tuple[str, str, str]]:
    """Yield what is to be done."""
    yield "rows", f"{found.rows:,}", f"{found.tokens_an_epoch:,} tokens an epoch"
    yield "tokens", f"{found.tokens:,}", "in all epochs, without padding"
    yield "steps", f"{found.steps:,}", f"{found.micro_batches:,} micro-batches"
    share = found.trainable_parameters / found.parameters
    yield "trained", f"{found.trainable_parameters / 1e6:,.2f} M", f"parameters, {share:.1%} of all"


def memory(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Yield memory by what holds it, the sum, and what there is."""
    found, parts = plan.forecast, plan.forecast.memory
    rows = f"{found.largest_batch_rows} rows, {found.largest_batch:,} tokens"
    yield "memory", gb(found.needed), f"needed on {found.device}, of {gb(plan.room)} there"
    if found.processes > 1:
        yield "processes", str(found.processes), f"each needs {gb(parts.needed)}"
    yield "  weights", gb(parts.weights), f"{found.parameters / 1e6:,.0f} M, {found.dtype}"
    yield "  adapter", gb(parts.adapter + parts.copies), "and the best and averaged one"
    yield "  gradients", gb(parts.gradients), ""
    yield "  optimizer", gb(parts.optimizer), "two moments"
    yield "  activations", gb(parts.activations), f"largest micro-batch: {rows}"
    yield "  allocator", gb(parts.allocator), "holes between tensors"
    yield "  runtime", gb(parts.runtime), "the libraries"
    yield "disk", gb(found.disk_bytes), f"a checkpoint takes {gb(found.checkpoint_bytes)}"


def times(plan: Plan, rates: Rates) -> Iterator[tuple[str, str, str]]:
    """Yield time, energy and money, as far as they are known."""
    if plan.measured is None or plan.time is None:
        return
    speed, timed = plan.measured.tokens_per_second, len(plan.measured.tokens)
    told = f"{speed:,.0f} tokens/s in {timed} steps, {minutes(plan.time.evaluating)} to evaluate"
    yield "time", minutes(plan.time.seconds), told
    yield "  probe", gb(plan.measured.peak_bytes), "its peak; a whole run leaves more holes"
    energy, price = energy_kwh(plan.time.seconds, rates), money(plan.time.seconds, rates)
    unknown = "not known: give --watts"
    yield "energy", "?" if energy is None else f"{energy:.3g} kWh", unknown * (energy is None)
    told = "not known: give --price-per-hour, or --watts and --price-per-kwh"
    yield "money", "?" if price is None else f"{price:.3g}", told * (price is None)


def as_dict(plan: Plan, rates: Rates) -> dict[str, Any]:
    """Return the plan as JSON values: bytes, seconds, kWh."""
    found = asdict(plan.forecast)
    found["memory"] |= {
        "tensors": plan.forecast.memory.tensors,
        "needed": plan.forecast.memory.needed,
    }
    found["needed_bytes"] = plan.forecast.needed
    seconds = plan.time.seconds if plan.time else None
    return {
        "recipe": plan.recipe,
        "fits": plan.fits,
        "room_bytes": plan.room,
        **found,
        "advice": [asdict(change) for change in plan.advice],
        "probe": asdict(plan.measured) if plan.measured else None,
        "seconds": seconds,
        "energy_kwh": None if seconds is None else energy_kwh(seconds, rates),
        "money": None if seconds is None else money(seconds, rates),
    }


def gb(count: int) -> str:
    """Return bytes as text in GB or MB (powers of ten)."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
