"""A real browser without a window, spoken to over its DevTools protocol."""

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE_S = 120


@dataclass
class Page:
    """One tab. `asked` are the addresses of all that it has asked for."""

    socket: Any
    asked: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            said = json.loads(self.socket.recv(timeout=PATIENCE_S))
            if said.get("method") == "Network.requestWillBeSent":
                self.asked.append(said["params"]["request"]["url"])
            if said.get("id") == number:
                assert "error" not in said, said
                return dict(said["result"])

    def value(self, expression: str) -> Any:
        """Return what a JavaScript expression gives."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Return what an expression gives as soon as that is true."""
        end = time.monotonic() + PATIENCE_S
        while not (found := self.value(expression)):
            assert time.monotonic() < end, f"never true: {expression}\n{self.text()}"
            time.sleep(0.02)
        return found

    def text(self) -> str:
        return str(self.value("document.body.innerText"))

    def press(self, key: str) -> None:
        """Press a key as a person does, on whatever has the focus."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=key)

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)

    def reload(self) -> None:
        """Reload, and wait until the new page is there: the old one is marked before."""
        self.value("window.old = true")
        self.call("Page.reload")
        self.wait("!window.old && document.readyState === 'complete'")


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Give a tab of a browser with a profile of its own in `folder`."""
    from websockets.sync.client import connect

    assert CHROMIUM
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder}", "--remote-debugging-port=0"]
    child = subprocess.Popen([*command, "about:blank"], stderr=subprocess.DEVNULL)
    try:
        tab = next(one for one in tabs(folder / "DevToolsActivePort") if one["type"] == "page")
        with connect(tab["webSocketDebuggerUrl"], open_timeout=PATIENCE_S) as socket:
            page = Page(socket)
            page.call("Page.enable")
            page.call("Network.enable")
            yield page
    finally:
        child.terminate()
        child.wait(30)


def tabs(file: Path) -> list[dict[str, Any]]:
    """Return the browser's tabs as soon as it has said where it listens."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        port = file.read_text().partition("\n")[0] if file.is_file() else ""
        if port:
            with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE_S) as answer:
                return list(json.load(answer))
        time.sleep(0.1)
    raise AssertionError("the browser did not start")
