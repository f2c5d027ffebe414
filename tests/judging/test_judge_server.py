"""The page over real HTTP: blind, local, and kept at once."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from made_sheet import made_sheet

from components.contracts.errors import ArtefactError
from components.judging.ratings import read_ratings, standing
from components.judging.server import JudgeServer, serving
from components.judging.session import Session
from components.judging.sheet import Sheet, open_sheet


@pytest.fixture
def sheet(tmp_path: Path) -> Sheet:
    return made_sheet(tmp_path / "base-vs-int8")


@pytest.fixture
def server(sheet: Sheet) -> Iterator[JudgeServer]:
    with serving(Session(sheet, "ann")) as running:
        yield running


def ask(
    server: JudgeServer,
    path: str,
    said: Any = None,
    *,
    token: str | None = None,
    **headers: str,
) -> tuple[int, Any]:
    """GET, or POST `said` as JSON; return the status and what came."""
    line = HTTPConnection("127.0.0.1", server.port, timeout=30)
    address = f"/{server.token if token is None else token}/{path}"
    head = {"Content-Type": "application/json", **headers}
    if said is None:
        line.request("GET", address, headers=headers)
    else:
        line.request("POST", address, body=json.dumps(said), headers=head)
    answer = line.getresponse()
    content = answer.read().decode()
    line.close()
    return answer.status, json.loads(content) if content.startswith("{") else content


def rate(server: JudgeServer, choice: str) -> Any:
    pair = ask(server, "state")[1]["pair"]
    status, state = ask(server, "rate", {"pair": pair["key"], "choice": choice})
    assert status == 200
    return state


def test_what_the_browser_gets_is_blind(server: JudgeServer) -> None:
    _, page = ask(server, "")
    _, state = ask(server, "state")
    for text in (page, json.dumps(state)):
        assert "int8" not in text
        assert "base" not in text.replace("base-uri", "")
    assert set(state["pair"]) == {"key", "prompt", "answers"}
    assert {answer.split()[0] for answer in state["pair"]["answers"]} == {"old", "new"}
    for outside in ("http://", "https://", "src=", "@import", "url("):
        assert outside not in page


def test_choices_are_on_the_disk_at_once_and_go_on_later(sheet: Sheet) -> None:
    with serving(Session(sheet, "ann")) as server:
        for done, key in enumerate("1203", start=1):
            if key == "3":
                continue
            first = ask(server, "state")[1]["pair"]["answers"][0]
            assert rate(server, key)["done"] == done
            said = read_ratings(sheet.folder / "ratings.jsonl")[-1]
            wanted = "int8" if first.startswith("new") == (key == "1") else "base"
            assert said.choice == ("tie" if key == "0" else wanted)
    again = open_sheet(sheet.folder)
    assert again is not None
    with serving(Session(again, "ann")) as server:
        assert ask(server, "state")[1]["done"] == 3
    with serving(Session(again, "bob")) as server:
        assert ask(server, "state")[1]["done"] == 0


def test_undo_shows_the_last_pair_again(server: JudgeServer, sheet: Sheet) -> None:
    first = ask(server, "state")[1]["pair"]
    rate(server, "1")
    second = ask(server, "state")[1]["pair"]
    rate(server, "2")
    status, state = ask(server, "undo", {})
    assert (status, state["done"], state["pair"]) == (200, 1, second)
    assert ask(server, "undo", {})[1]["pair"] == first
    assert ask(server, "undo", {})[1]["done"] == 0
    assert standing(sheet.ratings()) == {}
    assert len(sheet.ratings()) == 4, "nothing is ever taken out of the file"
    rate(server, "0")
    assert [said.choice for said in standing(sheet.ratings()).values()] == ["tie"]


def test_a_key_pressed_twice_counts_once(server: JudgeServer, sheet: Sheet) -> None:
    pair = ask(server, "state")[1]["pair"]
    assert ask(server, "rate", {"pair": pair["key"], "choice": "1"})[0] == 200
    status, state = ask(server, "rate", {"pair": pair["key"], "choice": "2"})
    assert (status, state["done"]) == (409, 1)
    assert state["pair"]["key"] != pair["key"]
    assert len(sheet.ratings()) == 1


def test_after_the_last_pair_comes_the_end(server: JudgeServer, sheet: Sheet) -> None:
    for _ in range(10):
        state = rate(server, "1")
    assert state == {"done": 10, "total": 10, "pair": None}
    found = json.loads((sheet.folder / "result.json").read_text())
    assert found["overall"]["items"] == 10
    assert found["first_shown"]["chosen"] == 10


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"pair": "x"}, "keys pair and choice"),
        ([1], "keys pair and choice"),
        ({"pair": "x", "choice": "7"}, "should be 1, 2 or 0"),
    ],
)
def test_what_is_no_choice_is_refused(server: JudgeServer, said: Any, told: str) -> None:
    status, answer = ask(server, "rate", said)
    assert status == 400
    assert told in answer["error"]


def test_only_who_has_the_address_is_answered(server: JudgeServer, sheet: Sheet) -> None:
    assert server.server_address[0] == "127.0.0.1"
    for path in ("", "state", "rate"):
        assert ask(server, path, token="guess")[0] == 404
    assert ask(server, "state", Host="evil.example:80")[0] == 404
    assert ask(server, "undo", {}, token="guess")[0] == 404
    pair = ask(server, "state")[1]["pair"]
    said = {"pair": pair["key"], "choice": "1"}
    form = {"Content-Type": "text/plain"}  # what a form of another page could send
    assert ask(server, "rate", said, **form)[0] == 400
    assert sheet.ratings() == []


def test_a_port_that_is_taken_is_told(server: JudgeServer) -> None:
    with pytest.raises(ArtefactError, match=rf"port {server.port} .* cannot be used"):
        JudgeServer(server.session, server.port)


def test_the_page_lets_nothing_in_from_outside(server: JudgeServer) -> None:
    line = HTTPConnection("127.0.0.1", server.port, timeout=30)
    line.request("GET", f"/{server.token}/")
    answer = line.getresponse()
    page = answer.read().decode()
    policy = answer.getheader("Content-Security-Policy") or ""
    nonce = policy.split("script-src 'nonce-")[1].split("'")[0]
    assert policy.startswith("default-src 'none'")
    assert f'<script nonce="{nonce}">' in page
    assert "{{" not in page
    assert answer.getheader("Cache-Control") == "no-store"
    line.close()
