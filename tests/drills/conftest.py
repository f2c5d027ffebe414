"""What the drills share: an untouched run, a Prefect server, and the table of how they went.

`make drill` sets TUNELINE_DRILLS to the number of repetitions. Without it only the few drills that
are also marked slow are run, once.
"""

import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drilled import Drilled, make_project
from servers import PrefectServer

from flows.ui import free_port

REPETITIONS = int(os.environ.get("TUNELINE_DRILLS", "0"))
TABLE = os.environ.get("TUNELINE_DRILLS_TABLE")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave drills out unless they were asked for: all of them take the better part of an hour."""
    if REPETITIONS:
        return
    drills = [item for item in items if item.get_closest_marker("drill")]
    left_out = [item for item in drills if not item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "repetition" in metafunc.fixturenames:
        metafunc.parametrize("repetition", range(1, max(REPETITIONS, 1) + 1))


@pytest.fixture(autouse=True)
def repetition(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one Prefect server for all drills that do not disturb it."""
    with PrefectServer(tmp_path_factory.mktemp("prefect"), free_port(0)) as api:
        yield api


@pytest.fixture(scope="session")
def template(server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project on which nothing has been run."""
    root = tmp_path_factory.mktemp("template") / "project"
    make_project(root, {"PREFECT_API_URL": server})
    return root


@pytest.fixture(scope="session")
def untouched(
    server: str, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What is true after a run that nothing has disturbed."""
    root = tmp_path_factory.mktemp("untouched") / "project"
    shutil.copytree(template, root)
    project = Drilled(root, {"PREFECT_API_URL": server})
    project.finish()
    state = project.state()
    assert state["runs"] == [["FINISHED", 1]]
    assert [step for step, _ in state["points"]["loss"]] == list(range(1, 61))
    return state


@pytest.fixture
def drilled(server: str, template: Path, tmp_path: Path) -> Iterator[Drilled]:
    """A project to disturb; whatever runs there at the end is ended."""
    root = tmp_path / "project"
    shutil.copytree(template, root)
    project = Drilled(root, {"PREFECT_API_URL": server})
    yield project
    for process in project.processes():
        process.kill()


RESULTS: dict[str, list[tuple[str, float]]] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    report = (yield).get_result()
    marker = item.get_closest_marker("drill")
    if marker is None or not (report.when == "call" or report.skipped or report.failed):
        return
    name = item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
    given = [str(v) for k, v in item.callspec.params.items() if k != "repetition"]  # type: ignore[attr-defined]
    title = f"{name}: {', '.join(given)}" if given else name
    outcome = "skipped" if report.skipped else "passed" if report.passed else "failed"
    RESULTS.setdefault(title, []).append((outcome, report.duration))


def pytest_sessionfinish() -> None:
    if TABLE and RESULTS:
        Path(TABLE).write_text(table(), encoding="utf-8")


def table() -> str:
    """Return how the drills went, as a page."""
    counts = [outcome for rows in RESULTS.values() for outcome, _ in rows]
    passed, skipped = counts.count("passed"), counts.count("skipped")
    lines = [
        "# Failure drills, the last result",
        "",
        "Written by `make drill` ([what each part does when it dies](failures.md)). Each row is a",
        "drill: the line is disturbed, goes on, and must end as an undisturbed run does: the same",
        "bytes, one MLflow run with each point once, one version with its aliases, no open run and",
        "no process left.",
        "",
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {platform.system()}: "
        f"**{passed} of {len(counts) - skipped} passed**"
        + (f", {skipped} skipped" if skipped else ""),
        "",
        "| drill | passed | seconds each |",
        "|---|---|---|",
    ]
    for title, rows in RESULTS.items():
        good = sum(outcome == "passed" for outcome, _ in rows)
        ran = [seconds for outcome, seconds in rows if outcome != "skipped"]
        told = f"{good} of {len(ran)}" if ran else "skipped"
        seconds = f"{sum(ran) / len(ran):.0f}" if ran else "–"
        lines.append(f"| {title} | {told} | {seconds} |")
    return "\n".join(lines) + "\n"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if RESULTS:
        terminalreporter.write_line(json.dumps({"drills": len(RESULTS)}))
