"""What DVC, Prefect and MLflow cost: the bare steps of a recipe against `tuneline run`, paired.

    python -m benchmarks.overhead [--quick] [--recipe sentiment] [--given data/sentiment]

Bare is every step of components/ in order, each in a process of its own (benchmarks/bare_stage.py),
with nothing of the three loaded. The line is the whole `tuneline run` in another fresh copy of this
repository, with what only the three make possible: champion and registration, records, hashes,
cache, its own Prefect server and a new MLflow store. `--servers` takes a third copy where servers
run already (`tuneline up`, not timed; their own processor time is not counted), and then times
flow runs that find nothing changed there, from the start of the process to its end (wanted: 5 s).

`--given` is a folder whose artefacts `raw` and `base` are taken as made, so that no download is
timed. Rounds take turns at who goes first. The JSON object in the last line has medians over
rounds: `overhead` is the line's time over bare, less one (wanted: at most 0.08 on a recipe of
minutes; `tiny`, with `--quick`, takes less time than any fixed cost and shows only that it runs).

Whole runs differ by more than that where the machine changes its speed between them, as the same
steps then take other times. So `beside` counts each step as its bare run took: what the line spends
beside the steps that both have, less what bare spends beside them, over bare. `steps` is what those
steps took in the line over what they took bare, less one: the machine's drift, and what servers
that run beside them take from them.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "line")]

from project import Project, copy_of_repository  # noqa: E402

from flows.environment import prepare  # noqa: E402
from flows.record import read_record  # noqa: E402
from flows.steps import STEPS  # noqa: E402

BARE = [name for name, step in STEPS.items() if not step.function.startswith("flows.")]
GIVEN = {"ingest": "raw", "fetch": "base"}
UNCHANGED = """
import sys
from pathlib import Path
from flows.environment import prepare

prepare(Path.cwd())
from flows.finetune import finetune

told = finetune(sys.argv[1], return_state=True).message
sys.exit(0 if told.startswith("nothing has changed") else told)
"""
WAYS = {"line": "the line", "servers": "the line, servers up"}


@dataclass
class Took:
    """Wall and processor seconds of all processes; of each stage the seconds of its step.

    `unchanged` are both of flow runs that had nothing to do.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)
    processes: dict[str, float] = field(default_factory=dict)
    unchanged: list[tuple[float, float]] = field(default_factory=list)

    def add(self, seconds: float, cpu: float) -> None:
        self.seconds += seconds
        self.cpu += cpu


def main() -> None:
    options = parse()
    ways = ["bare", "line", *(["servers"] if options.servers else [])]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; recipe {options.recipe}")
    rounds = []
    for number in range(options.rounds):
        order = ways if number % 2 == 0 else ways[::-1]
        found = {way: run(way, options) for way in order}
        rounds.append({way: found[way] for way in ways})
        tell_round(number + 1, rounds[-1])
        tell_stages(rounds[-1])
    tell_unchanged(rounds)
    print(json.dumps(ratios(rounds)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of the recipe tiny")
    parser.add_argument("--recipe", default="sentiment")
    parser.add_argument("--given", type=Path, help="folder with artefacts raw and base")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--servers", action="store_true", help="measure with servers up too")
    options = parser.parse_args()
    if options.quick:
        options.recipe, options.rounds, options.given = "tiny", 1, None
    return options


def run(way: str, options: argparse.Namespace) -> Took:
    """Run the recipe one way in a fresh copy of the repository."""
    with tempfile.TemporaryDirectory(prefix=f"overhead-{way}-") as folder:
        project = make_project(Path(folder) / "project", options.recipe, options.given)
        if way == "bare":
            return run_bare(project, options.recipe, options.given is not None)
        if way == "line":
            return run_line(project, options.recipe)
        project.tuneline("up")
        try:
            took = run_line(project, options.recipe)
            words = (sys.executable, "-c", UNCHANGED, options.recipe)
            env = dict(project.env)
            prepare(project.root, env)
            took.unchanged = [timed(words, project.root, env)[:2] for _ in range(3)]
            return took
        finally:
            project.tuneline("down")


def make_project(root: Path, recipe: str, given: Path | None) -> Project:
    """Return a copy in which only this recipe is on the line; DVC knows what is given as made."""
    project = copy_of_repository(root)
    (root / "params.yaml").write_text(f"recipes:\n  - {recipe}\n", encoding="utf-8")
    if given:
        for stage, noun in GIVEN.items():
            shutil.copytree(given / noun, root / "data" / recipe / noun)
            project.dvc("commit", "--force", "--quiet", f"{stage}@{recipe}")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", recipe, "--allow-empty")
    return project


def run_bare(project: Project, recipe: str, given: bool) -> Took:
    took = Took()
    env = dict(project.env)
    prepare(project.root, env)
    for name in BARE:
        if given and name in GIVEN:
            continue
        seconds, cpu, said = timed(
            (sys.executable, "-m", "benchmarks.bare_stage", name, recipe), project.root, env
        )
        took.add(seconds, cpu)
        took.processes[name] = seconds
        took.steps[name] = float(said.splitlines()[-1])
    return took


def run_line(project: Project, recipe: str) -> Took:
    took = Took()
    words = (sys.executable, "-m", "flows.cli", "run", recipe)
    seconds, cpu, _ = timed(words, project.root, project.env)
    took.add(seconds, cpu)
    record = read_record(project.root, recipe)
    assert record is not None
    took.steps = {name: one.seconds for name, one in record.stages.items() if one.seconds}
    return took


def timed(words: Sequence[str], root: Path, env: dict[str, str]) -> tuple[float, float, str]:
    """Return wall and processor seconds of a command and all that it started, and what it said."""
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as faults:
        started = time.monotonic()
        child = subprocess.Popen(words, cwd=root, env=env, stdout=said, stderr=faults)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        for stream in (said, faults):
            stream.seek(0)
        text = said.read()
        if child.returncode:
            sys.exit(f"{' '.join(words)} failed:\n{text}\n{faults.read()}")
    return seconds, usage.ru_utime + usage.ru_stime, text


def tell_round(number: int, found: dict[str, Took]) -> None:
    """Print one line a way: its time, and what it takes more than the bare steps."""
    print(f"{'round':7}{'way':24}{'seconds':>9}{'more':>8}{'CPU s':>9}{'more':>8}")
    bare = found["bare"]
    for way, took in found.items():
        name = WAYS.get(way, "bare steps")
        more = ("", "")
        if way != "bare":
            more = (f"{took.seconds / bare.seconds - 1:.1%}", f"{took.cpu / bare.cpu - 1:.1%}")
        told = f"{took.seconds:>9.1f}{more[0]:>8}{took.cpu:>9.1f}{more[1]:>8}"
        print(f"{number:<7}{name:24}{told}", flush=True)


def tell_stages(found: dict[str, Took]) -> None:
    """Print the seconds of each step, bare and in the line, and what lies beside the steps."""
    bare, line = found["bare"], found["line"]
    print(f"\n{'stage':24}{'bare process':>14}{'its step':>10}{'in the line':>13}")
    for name in STEPS:
        if name not in bare.steps and name not in line.steps:
            continue
        cells = (bare.processes.get(name), bare.steps.get(name), line.steps.get(name))
        widths = (14, 10, 13)
        told = "".join(
            f"{'' if c is None else f'{c:.1f}':>{w}}" for c, w in zip(cells, widths, strict=True)
        )
        print(f"{name:24}{told}")
    sums = (sum(bare.processes.values()), sum(bare.steps.values()), sum(line.steps.values()))
    print(f"{'sum':24}{sums[0]:>14.1f}{sums[1]:>10.1f}{sums[2]:>13.1f}")
    print(f"{'beside the steps':24}{'':>14}{bare.seconds - sums[1]:>10.1f}", end="")
    print(
        f"{line.seconds - sums[2]:>13.1f}   (two stages may run at a time in the line)\n",
        flush=True,
    )


def tell_unchanged(rounds: list[dict[str, Took]]) -> None:
    """Print what flow runs with nothing to do took, where servers were up."""
    if found := unchanged(rounds):
        print(f"nothing changed, servers up: {found[0]:.1f} s, {found[1]:.1f} CPU s (medians)\n")


def unchanged(rounds: list[dict[str, Took]]) -> tuple[float, float] | None:
    """Return the median wall and processor seconds of flow runs with nothing to do."""
    found = [one for each in rounds if "servers" in each for one in each["servers"].unchanged]
    if not found:
        return None
    return statistics.median(one[0] for one in found), statistics.median(one[1] for one in found)


def apart(line: Took, bare: Took) -> tuple[float, float]:
    """Return what the line takes more beside the common steps, over bare, and in them."""
    within = sum(line.steps[name] for name in bare.steps)
    alone = sum(bare.steps.values())
    more = (line.seconds - within) - (bare.seconds - alone)
    return more / bare.seconds, within / alone - 1


def ratios(rounds: list[dict[str, Took]]) -> dict[str, float]:
    """Return the medians over rounds of what each way takes more than the bare steps."""
    result: dict[str, float] = {}
    for way in rounds[0]:
        if way == "bare":
            continue
        suffix = "" if way == "line" else f"_with_{way}_up"
        wall = [one[way].seconds / one["bare"].seconds - 1 for one in rounds]
        cpu = [one[way].cpu / one["bare"].cpu - 1 for one in rounds]
        result[f"overhead{suffix}"] = round(statistics.median(wall), 4)
        result[f"overhead_cpu{suffix}"] = round(statistics.median(cpu), 4)
        parts = [apart(one[way], one["bare"]) for one in rounds]
        for name, values in zip(("beside", "steps"), zip(*parts, strict=True), strict=True):
            result[f"{name}{suffix}"] = round(statistics.median(values), 4)
    if found := unchanged(rounds):
        result["unchanged_seconds"] = round(found[0], 2)
    return {**result, "rounds": len(rounds)}


if __name__ == "__main__":
    main()
