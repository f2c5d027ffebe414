"""Alerts: a run failed, the gate blocked a model, the data drifted.

They are hooks of the flow and not automations of the server: a `tuneline run` without a server has
them too, a crash is told by the worker (Prefect runs `on_crashed` there), and the text can say what
the stage itself said. A channel that does not answer is noted in the run's log and changes nothing.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from components.contracts.errors import RecipeError
from flows.environment import alert_webhook, find_root, prepare, state_folder
from flows.project import project_settings
from flows.recipe import NAME, load_recipe
from flows.record import read_record, told_faults

Kind = Literal["failed", "blocked", "drifted"]
TIMEOUT_S = 15
LONGEST = 4000
SUBJECTS: dict[Kind, str] = {
    "failed": "run failed",
    "blocked": "new model blocked by the gate",
    "drifted": "data drifted",
}


@dataclass(frozen=True)
class Alert:
    """What happened to a recipe, in words; ids where they are known."""

    kind: Kind
    recipe: str
    text: str
    flow_run_id: str | None = None
    mlflow_run_id: str | None = None

    @property
    def subject(self) -> str:
        return f"tuneline: {self.recipe}: {SUBJECTS[self.kind]}"


def send(root: Path | None, alert: Alert, note: Callable[[str], object]) -> int:
    """Tell every channel of the project; return how many took it.

    Channels are the blocks of `operation.alerts` in params.yaml, and the address in
    `TUNELINE_ALERT_WEBHOOK`, which gets the alert as JSON; without a project at hand (a worker that
    starts jobs elsewhere) only the latter. A channel's error is noted by its type
    alone: its text may hold the address, which is a secret.
    """
    ways: dict[str, Callable[[], None]] = {
        slug: _block(slug, alert) for slug in (project_settings(root).alerts if root else ())
    }
    address = alert_webhook()
    if address:
        ways["TUNELINE_ALERT_WEBHOOK"] = lambda: _post(address, alert)
    took = 0
    for name, way in ways.items():
        try:
            way()
            took += 1
        except Exception as error:  # noqa: BLE001 - whatever a channel raises, the run has ended
            note(f"alert '{alert.kind}' not taken by {name}: {type(error).__name__}")
    return took


def _post(address: str, alert: Alert) -> None:
    import httpx

    body = {"subject": alert.subject, **asdict(alert), "text": alert.text[:LONGEST]}
    httpx.post(address, json=body, timeout=TIMEOUT_S).raise_for_status()


def _block(slug: str, alert: Alert) -> Callable[[], None]:
    def notify() -> None:
        from prefect.blocks.core import Block

        from flows import email_block  # noqa: F401 - so that Prefect knows the type

        block: Any = Block.load(slug)
        block.notify(alert.text[:LONGEST], alert.subject)

    return notify


def on_failed(flow: Any, flow_run: Any, state: Any) -> None:
    """Tell that a run failed or crashed, in the failed stage's own words (a hook of the flow).

    A flow that fails because the line within it did says nothing: that has been told.
    """
    root, recipe = _root(), str(flow_run.parameters.get("recipe"))
    record = read_record(root, recipe) if root else None
    text, run = str(state.message or state.name), None
    if root and record:
        faults = told_faults(root, recipe)
        if record.prefect_flow_run_id == str(flow_run.id):
            text, run = faults or text, record.mlflow_run_id
        elif faults and faults in text:
            return
    _tell(root, Alert("failed", recipe, text, str(flow_run.id), run), flow_run)


def on_first_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Do as `on_failed` for the first of several failures (a hook of a flow that runs often).

    A bucket that is away for a night fails every minute. `went_well` begins anew.
    """
    root, recipe = _root(), str(flow_run.parameters.get("recipe"))
    mark = _failing(flow.name, root, recipe) if root and NAME.fullmatch(recipe) else None
    if mark and mark.exists():
        return
    on_failed(flow, flow_run, state)
    if mark:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def went_well(flow: str, root: Path, recipe: str) -> None:
    """Let the next failure of a flow be told again."""
    _failing(flow, root, recipe).unlink(missing_ok=True)


def _failing(flow: str, root: Path, recipe: str) -> Path:
    """Return the file that is there while the last run of a flow has failed."""
    return state_folder(root) / "failing" / f"{flow}-{recipe}"


def on_done(flow: Any, flow_run: Any, state: Any) -> None:
    """Tell of a verdict against the model and of drift that this very run has found (a hook)."""
    root, recipe = _root(), str(flow_run.parameters.get("recipe"))
    record = read_record(root, recipe) if root else None
    if root is None or record is None or record.prefect_flow_run_id != str(flow_run.id):
        return  # a run that found nothing to do: an earlier one has told
    for kind, text in findings(root, recipe):
        alert = Alert(kind, recipe, text, str(flow_run.id), record.mlflow_run_id)
        _tell(root, alert, flow_run)


def findings(root: Path, recipe: str) -> list[tuple[Kind, str]]:
    """Return what is worth an alert in the artefacts that the last run has made itself."""
    record = read_record(root, recipe)
    ran = {name for name, one in record.stages.items() if one.outcome == "ran"} if record else set()
    found: list[tuple[Kind, str]] = []
    folder = root / "data" / recipe
    if "gate" in ran and (text := blocked(folder / "verdict")):
        found.append(("blocked", text))
    if "validate" in ran and (text := drifted(root, recipe)):
        found.append(("drifted", text))
    return found


def blocked(verdict: Path) -> str | None:
    """Return why a verdict is against the model, None if it is for it."""
    from components.contracts.artefacts import read_manifest

    facts = read_manifest(verdict)["facts"]
    if facts["promote"]:
        return None
    failed = [str(one["text"]) for one in facts["reasons"] if not one["passed"]]
    return f"{facts['ship']} does not become champion: " + "; ".join(failed)


def drifted(root: Path, recipe: str) -> str | None:
    """Return which figures of drift are beyond the recipe's bounds, None if none is."""
    from components.contracts.artefacts import read_manifest

    settings = load_recipe(root, recipe).validation
    bounds = {"psi": settings.max_psi, "ks": settings.max_ks}
    figures = read_manifest(root / "data" / recipe / "dataset")["facts"].get("drift") or {}
    beyond = [
        f"{name.replace('_', ' ')} {figure:.3g} (allowed {bounds[kind]:g})"
        for name, figure in figures.items()
        if (kind := name.partition("_")[0]) in bounds and figure > bounds[kind]
    ]
    return f"drift from the last accepted data: {', '.join(beyond)}" if beyond else None


def _root() -> Path | None:
    try:
        root = find_root(Path.cwd())
    except RecipeError:
        return None
    prepare(root)
    return root


def _tell(root: Path | None, alert: Alert, flow_run: Any) -> None:
    from prefect.logging.loggers import flow_run_logger

    send(root, alert, flow_run_logger(flow_run).warning)
