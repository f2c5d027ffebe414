"""Thirty ticks of a retrain deployment, unattended, on a real Prefect server and worker.

    python benchmarks/ticks.py FOLDER            # every minute; about 40 minutes
    python benchmarks/ticks.py FOLDER --quick    # 6 ticks, every 20 s

A copy of this repository is made in FOLDER with the recipe `tiny`, whose first champion is trained
before the schedule begins. More rows of the same kind arrive before one tick, a few of another kind
(many times as long) before a later one. Nobody does anything in between. What was decided, when and
why is read back from the server and the registry. Stopped, it goes on where it was. Prints a table
and, as its last line, one JSON object; exits with 1 unless every decision was the expected one and
the champion changed exactly once. `--write docs/ticks.md` keeps the log.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "line")]

from project import Project, copy_of_repository  # noqa: E402
from ticks_page import Arrival, Tick, arrivals, markdown, result, write  # noqa: E402
from ticks_rows import rows  # noqa: E402

from flows.ui import HOST, free_port, stop, stopped_by_signals  # noqa: E402

RECIPE = "tiny"
ENDED = ("COMPLETED", "FAILED", "CRASHED")
SETTINGS = """
retrain:
  min_new_rows: 100
  settle_s: 0
"""
DEPLOYMENT = """name: ticks
pull:
  - prefect.deployments.steps.set_working_directory: {{directory: "{root}"}}
deployments:
  - name: every
    entrypoint: flows/retrain.py:retrain
    parameters: {{recipe: tiny}}
    work_pool: {{name: ticks}}
    concurrency_limit: {{limit: 1, collision_strategy: ENQUEUE}}
    schedules:
      - {{interval: {seconds}}}
"""


class Ticks:
    """The project, its server and what is known so far."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.project = Project(folder / "project")
        self.api = ""

    def say(self, line: str) -> None:
        """Print a line and keep it."""
        told = f"{datetime.now(UTC):%H:%M:%S} {line}"
        print(told, flush=True)
        with (self.folder / "log.txt").open("a", encoding="utf-8") as log:
            log.write(told + "\n")

    def set_up(self) -> None:
        """Copy the repository and give its recipe a schedule's settings."""
        root = self.project.root
        if (self.folder / "ready").exists():
            return
        root.mkdir(parents=True)
        copy_of_repository(root)
        sheet = root / "recipes" / f"{RECIPE}.yaml"
        sheet.write_text(sheet.read_text(encoding="utf-8") + SETTINGS, encoding="utf-8")
        text = DEPLOYMENT.format(root=root, seconds=self.options.interval)
        (root / "prefect.yaml").write_text(text, encoding="utf-8")
        self.project.run("git", "add", "-A")
        self.project.run("git", "commit", "-qm", "a schedule")
        (self.folder / "ready").touch()

    @contextmanager
    def server(self) -> Iterator[None]:
        """Run a Prefect server on the project's database, on the same port as before."""
        kept = self.folder / "port"
        port = free_port(int(kept.read_text()) if kept.exists() else 0)
        kept.write_text(str(port))
        self.api = f"http://{HOST}:{port}/api"
        words = ("prefect", "server", "start", "--host", HOST, "--port", str(port))
        with self.background(words, "server.log"):
            wait_for(self.healthy, 1800, "the server does not answer")
            yield

    @contextmanager
    def background(self, words: Sequence[str], log: str) -> Iterator[None]:
        with (self.folder / log).open("a") as out:
            child = subprocess.Popen(
                (sys.executable, "-m", *words),
                cwd=self.project.root,
                env=self.env(),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield
            finally:
                stop(child)

    def env(self) -> dict[str, str]:
        env = dict(self.project.env)
        state = self.project.root / ".tuneline"
        state.mkdir(exist_ok=True)
        from flows.environment import prepare

        prepare(self.project.root, env)
        return {**env, "PREFECT_API_URL": self.api}

    def healthy(self) -> bool:
        import httpx

        try:
            return httpx.get(f"{self.api}/health", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        """Ask the server; a busy one is asked again."""
        import httpx

        for left in reversed(range(20)):
            try:
                found = httpx.post(f"{self.api}/{path}", json=body, timeout=60)
                return found.raise_for_status().json()
            except httpx.HTTPError:
                if not left:
                    raise
                time.sleep(3)
        return None

    def run(self, *words: str) -> str:
        return self.project.run(sys.executable, "-m", *words, PREFECT_API_URL=self.api)

    def deploy(self) -> None:
        if (self.folder / "deployed").exists():
            return
        self.say("training the first champion")
        self.run("flows.cli", "run", RECIPE)
        self.run("prefect", "work-pool", "create", "ticks", "--type", "process")
        self.run("prefect", "--no-prompt", "deploy", "--all")
        (self.folder / "deployed").touch()

    def ended(self) -> list[dict[str, Any]]:
        """Return the ticks that came to an end, in the order in which they began.

        After a long one those that wait are not always taken up in the order of their plan.
        """
        body = {
            "sort": "EXPECTED_START_TIME_ASC",
            "limit": 200,
            "flow_runs": {
                "state": {"type": {"any_": list(ENDED)}},
                "parent_task_run_id": {"is_null_": True},
            },
            "deployments": {"name": {"any_": ["every"]}},
        }
        found = self.ask("flow_runs/filter", body)
        ticks = [run for run in found if run["auto_scheduled"] and run["start_time"]]
        return sorted(ticks, key=lambda run: str(run["start_time"]))

    def watch(self) -> None:
        """Put the rows where they are looked for, each before its tick; wait for the last tick."""
        done = 0
        while done < self.options.ticks:
            found = self.ended()
            for run in found[done:]:
                done += 1
                self.say(f"tick {done}: {run['state_name']} in {run['total_run_time']:.1f} s")
            for arrival in arrivals(self.options):
                if done >= arrival.at - 1:
                    self.put(arrival)
            time.sleep(1)

    def put(self, arrival: Arrival) -> None:
        """Let rows arrive, whole and once."""
        mark = self.folder / f"{arrival.name}.put"
        if mark.exists():
            return
        root = self.project.root
        known = (root / f"data/inputs/{RECIPE}/rows.jsonl").read_text(encoding="utf-8")
        taken = {str(json.loads(line)["text"]).casefold() for line in known.splitlines()}
        if arrival.long:
            made = rows(arrival.count, 2, taken, long=True)
        else:
            made = rows(arrival.count, 1, taken)
        folder = root / "data" / "incoming" / RECIPE
        folder.mkdir(parents=True, exist_ok=True)
        hidden = folder / f".{arrival.name}"
        hidden.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
        hidden.rename(folder / arrival.name)
        mark.touch()
        self.say(f"{arrival.told} arrived")

    def table(self) -> list[Tick]:
        """Return the ticks as the server and the registry remember them."""
        os.environ["MLFLOW_TRACKING_URI"] = self.env()["MLFLOW_TRACKING_URI"]
        from flows.registry_alias import moves

        past = moves(RECIPE)
        found = []
        for number, run in enumerate(self.ended()[: self.options.ticks], start=1):
            end = datetime.fromisoformat(run["end_time"])
            reigned = [move.to for move in past if datetime.fromisoformat(move.at) <= end]
            found.append(
                Tick(
                    number=number,
                    planned=f"{datetime.fromisoformat(run['expected_start_time']):%H:%M:%S}",
                    seconds=round(run["total_run_time"], 1),
                    state=run["state_name"],
                    reasons=run["state"]["message"] or "",
                    champion=reigned[-1] if reigned else "none",
                )
            )
        return found


def wait_for(condition: Callable[[], bool], seconds: float, fault: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(fault)
        time.sleep(0.5)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the project lies; kept, to go on from")
    parser.add_argument("--ticks", type=int, default=30)
    parser.add_argument("--interval", type=int, default=60, help="seconds between two ticks")
    parser.add_argument("--at", type=int, default=5, help="the tick before which rows arrive")
    parser.add_argument("--drift-at", type=int, default=15, help="the same for drifted rows")
    parser.add_argument("--quick", action="store_true", help="6 ticks, 20 s apart")
    parser.add_argument("--write", type=Path, help="keep the log as this page")
    options = parser.parse_args(words)
    if options.quick:
        options.ticks, options.interval, options.at, options.drift_at = 6, 20, 2, 4
    return options


def main() -> int:
    options = parse()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    ticks = Ticks(folder, options)
    ticks.set_up()
    with ExitStack() as stack:
        stack.enter_context(stopped_by_signals())
        stack.enter_context(ticks.server())
        ticks.deploy()
        worker = ("prefect", "worker", "start", "--pool", "ticks")
        stack.enter_context(ticks.background(worker, "worker.log"))
        ticks.watch()
        found = ticks.table()
    table, figures = markdown(found, options), result(found, options)
    (folder / "ticks.json").write_text(json.dumps([asdict(t) for t in found], indent=1))
    print(table)
    if options.write:
        write(options.write, table, figures, options)
    print(json.dumps(figures))
    return 0 if figures["as_expected"] and figures["champion_changes"] == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
