"""Ten ratings in a real browser, by keys, with reloads in between."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from chromium import CHROMIUM, Page, browser
from judged_project import make_judged, sheet_of
from made_sheet import WORDS
from toy_project import Toy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)"
    ),
]


def key_for_int8(page: Page) -> str:
    """Return the key of int8's answer: in the made-up rows it is the right word."""
    number = int(re.search(r"Thing (\d+)", page.text())[1])  # type: ignore[index]
    first = page.value("document.getElementById('first').textContent")
    return "1" if first == WORDS[number % 3] else "2"


def counted(page: Page, done: int) -> None:
    page.wait(f"document.getElementById('count').textContent === '{done} of 10'")


def test_ten_ratings_by_keys(toy_here: Toy, tmp_path: Path) -> None:
    from flows.store import client

    run = make_judged(toy_here)
    judge = [sys.executable, "-m", "flows.cli", "judge", "toy"]
    child = subprocess.Popen(
        [*judge, "--rater", "Ann", "--samples", "10", "--no-browser"],
        cwd=toy_here.root,
        env=toy_here.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    found = (re.match(r"page\s+(http://127\.0\.0\.1:\d+/\S+/)$", line) for line in child.stderr)
    address = next(match[1] for match in found if match)

    with browser(tmp_path / "profile") as page:
        page.open(address)
        counted(page, 0)
        assert "int8" not in page.value("document.documentElement.outerHTML")
        assert "<b>&amp;</b>" in page.text(), "what a row holds is text, not HTML"
        light = background(page, "light")
        assert light != background(page, "dark")
        for done in range(10):
            ours = key_for_int8(page)
            key = {3: "0", 6: "21"[int(ours) - 1]}.get(done, ours)
            page.press(key)
            counted(page, done + 1)
            if done == 4:  # a slip, taken back
                page.press("u")
                counted(page, 4)
                page.press(key_for_int8(page))
                counted(page, 5)
            if done in (2, 7):
                page.reload()
                counted(page, done + 1)
        assert "All are judged" in page.text()
        page.reload()
        counted(page, 10)
        assert "All are judged" in page.text()
        assert [url for url in page.asked if not url.startswith((address, "data:"))] == []

    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    assert "int8 against base: 8 won, 1 lost, 1 tie of 10 items; win rate 88.9 %" in out
    result = json.loads((sheet_of(toy_here) / "result.json").read_text())
    assert result["overall"]["win_rate"] == pytest.approx(8 / 9)
    metrics = client().get_run(run).data.metrics
    assert metrics["judged.base-vs-int8.overall.win_rate"] == pytest.approx(8 / 9)
    assert len((sheet_of(toy_here) / "ratings.jsonl").read_text().splitlines()) == 12


def background(page: Page, scheme: str) -> str:
    page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    return str(page.value("getComputedStyle(document.body).backgroundColor"))
