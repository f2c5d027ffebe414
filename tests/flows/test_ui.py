"""`tuneline ui` starts both servers on the project's databases and stops both."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.request import urlopen

import psutil
import pytest
from rich.console import Console
from toy_project import Toy

from flows.ui import HOST, free_port, serve


@pytest.fixture
def running(toy: Toy) -> Iterator["subprocess.Popen[str]"]:
    child = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "ui", "--no-browser"],
        cwd=toy.root,
        env=toy.env(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield child
    if child.poll() is None:
        child.kill()


@pytest.mark.slow
def test_both_pages_answer_and_ctrl_c_stops_all(toy: Toy, running: "subprocess.Popen[str]") -> None:
    assert running.stdout is not None
    pages = {}
    for line in running.stdout:
        found = re.match(r"(MLflow|Prefect)\s+(http://\S+)", line)
        if found:
            pages[found[1]] = found[2]
        if "Ctrl-C" in line:
            break
    assert set(pages) == {"MLflow", "Prefect"}
    for page in pages.values():
        with urlopen(page, timeout=60) as answer:
            assert answer.status == 200
    assert (toy.root / ".tuneline/prefect.db").exists()
    children = psutil.Process(running.pid).children(recursive=True)
    assert len(children) >= 2

    running.send_signal(signal.SIGINT)

    assert running.wait(60) == 0
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
    assert (toy.root / ".tuneline/logs/mlflow.log").read_text(encoding="utf-8")


def test_servers_that_run_elsewhere_are_named_not_started(
    toy: Toy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example:4200/api")
    before = signal.getsignal(signal.SIGTERM)
    serve(toy.root, Console(), browser=False)
    assert signal.getsignal(signal.SIGTERM) is before

    said = capsys.readouterr().out
    assert "http://tracking.example:5000 (runs there already)" in said
    assert "http://prefect.example:4200 (runs there already)" in said


def test_a_taken_port_is_passed_over() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert free_port(port) != port
