"""Alerts reach a web hook and a mailbox, tell what happened, and never tell a secret."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from toy_project import Toy

from components.contracts.kinds import Dataset, Verdict
from flows import alerts
from flows.alerts import Alert, findings, send
from flows.record import StageRecord, open_flow_record, open_record

SECRET = "hook-5ecret-path"


class Hook(BaseHTTPRequestHandler):
    """Keeps what is posted; refuses what comes to /broken."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(500 if "broken" in self.path else 204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def hook() -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), Hook)
    server.got = []
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def alert(kind: Any = "failed") -> Alert:
    return Alert(kind, "toy", "row 3 has no label", "flow-run", "mlflow-run")


def test_a_web_hook_gets_the_alert_as_json(
    toy: Toy, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNELINE_ALERT_WEBHOOK", f"{hook.address}/{SECRET}")
    notes: list[str] = []
    assert send(toy.root, alert(), notes.append) == 1
    assert notes == []
    assert hook.got == [
        {
            "subject": "tuneline: toy: run failed",
            "kind": "failed",
            "recipe": "toy",
            "text": "row 3 has no label",
            "flow_run_id": "flow-run",
            "mlflow_run_id": "mlflow-run",
        }
    ]


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/{}", "{}/broken"])
def test_a_channel_that_fails_is_noted_without_its_address(
    toy: Toy, hook: Any, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    where = address.format(hook.address if "broken" in address else SECRET) + f"?key={SECRET}"
    monkeypatch.setenv("TUNELINE_ALERT_WEBHOOK", where)
    notes: list[str] = []
    assert send(toy.root, alert(), notes.append) == 0
    assert len(notes) == 1
    assert "TUNELINE_ALERT_WEBHOOK" in notes[0]
    assert SECRET not in notes[0]
    assert "127.0.0.1" not in notes[0]


class Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP as one message takes."""

    def handle(self) -> None:
        self.wfile.write(b"220 mailbox\r\n")
        lines: list[str] = []
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            lines.append(line)
            if line.upper().startswith("DATA"):
                self.wfile.write(b"354 go on\r\n")
                while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(line)
            self.wfile.write(b"221 bye\r\n" if line.upper() == "QUIT" else b"250 ok\r\n")
            if line.upper() == "QUIT":
                break
        self.server.got.append(lines)  # type: ignore[attr-defined]


def test_the_email_block_sends_a_message() -> None:
    from flows.email_block import TunelineEmail

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.got = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        block = TunelineEmail(
            host="127.0.0.1",
            port=server.server_address[1],
            security="none",
            sender="line@example.org",
            recipients=["ops@example.org", "boss@example.org"],
        )
        block.notify("row 3 has no label", "tuneline: toy: run failed")
        server.shutdown()
        lines = server.got[0]  # type: ignore[attr-defined]
    assert "Subject: tuneline: toy: run failed" in lines
    assert "row 3 has no label" in lines
    assert sum(line.lower().startswith("rcpt to:") for line in lines) == 2


def test_a_blocked_verdict_and_drift_are_found_in_what_the_run_made(toy: Toy) -> None:
    reasons = [
        {"check": "items", "passed": True, "text": "100 held-out items"},
        {"check": "better", "passed": False, "text": "not better than the base"},
    ]
    with Verdict.write(toy.root / "data/toy/verdict") as draft:
        draft.facts = {"promote": False, "ship": "int8", "reasons": reasons}
    with Dataset.write(toy.root / "data/toy/dataset") as draft:
        draft.facts = {"drift": {"psi_label": 0.31, "ks_length": 0.05, "new_words": 0.4}}
    with open_record(toy.root, "toy", "dvc") as record:
        record.add_stage("validate", StageRecord(outcome="ran"))
        record.add_stage("gate", StageRecord(outcome="ran"))

    found = dict(findings(toy.root, "toy"))
    assert found["blocked"] == "int8 does not become champion: not better than the base"
    assert found["drifted"] == "drift from the last accepted data: psi label 0.31 (allowed 0.2)"

    with open_record(toy.root, "toy", "dvc") as record:
        record.stages = {"gate": StageRecord(outcome="cached")}
    assert findings(toy.root, "toy") == [], "another run has told of it already"


def test_a_run_that_found_nothing_to_do_tells_no_old_news(
    toy_here: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = {"check": "better", "passed": False, "text": "not better than the base"}
    with Verdict.write(toy_here.root / "data/toy/verdict") as draft:
        draft.facts = {"promote": False, "ship": "int8", "reasons": [reason]}
    with open_flow_record(toy_here.root, "toy", "that run") as record:
        record.add_stage("gate", StageRecord(outcome="ran"))
    told: list[str] = []
    monkeypatch.setattr(alerts, "_tell", lambda root, alert, flow_run: told.append(alert.kind))

    alerts.on_done(None, SimpleNamespace(id="another run", parameters={"recipe": "toy"}), None)
    assert told == []
    alerts.on_done(None, SimpleNamespace(id="that run", parameters={"recipe": "toy"}), None)
    assert told == ["blocked"]
