"""The report in a real browser: it asks for nothing, no error, it goes dark and prints."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from made_run import made_run, speeds

from components.report.line import Line, Page
from components.report.render import page_html
from components.report.settings import ReportSettings
from components.report.side_by_side import Run, page, side_by_side
from flows.report_page import open_line
from flows.summary import read_speeds

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = [
    "--headless",
    "--hide-scrollbars",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
SIZE = "--window-size=1100,1500"
DARK = "--blink-settings=preferredColorScheme=0"
OWN_HOSTS = re.compile(
    r"https?://((clients\d*|accounts|www)\.google\.com|redirector\.gvt1\.com"
    r"|(update|optimizationguide-pa|content-autofill|safebrowsing)\.googleapis\.com)/"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)"
    ),
]


def browse(file: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Open a file in a browser with a profile of its own."""
    assert CHROMIUM
    profile = f"--user-data-dir={file.parent / 'profile'}"
    done = subprocess.run(
        [CHROMIUM, *QUIET, profile, SIZE, *words, file.as_uri()],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return made_run(tmp_path_factory.mktemp("made") / "run", tasks=True)


@pytest.fixture(scope="module")
def files(line: Line, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The report, and the comparison of the run with itself."""
    folder = tmp_path_factory.mktemp("pages")
    run = Run("one", line.evaluation, line.verification, line.verdict)
    pages = {
        "report.html": page_html(Page(line, ReportSettings(), speeds())),
        "compare.html": page(side_by_side([run, run])),
    }
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages]


def test_no_errors_and_nothing_is_asked_of_the_network(files: list[Path]) -> None:
    for file in files:
        log = file.with_suffix(".netlog")
        done = browse(file, "--dump-dom", "--enable-logging=stderr", f"--log-net-log={log}")
        assert "CONSOLE" not in done.stderr, done.stderr
        assert "<h1>" in done.stdout
        text = log.read_text(encoding="utf-8")
        text = text if text.rstrip().endswith("}") else text.rstrip().rstrip(",") + "]}"
        asked = {
            event["params"]["url"]
            for event in json.loads(text)["events"]
            if isinstance(event.get("params"), dict) and "url" in event["params"]
        }
        outside = {url for url in asked if url.startswith("http")}
        assert not {url for url in outside if not of_the_browser(url)}, outside


def of_the_browser(url: str) -> bool:
    """Say whether the browser itself asks for this, with any page or none."""
    return OWN_HOSTS.match(url) is not None


def test_light_and_dark_are_two_pictures(files: list[Path], tmp_path: Path) -> None:
    pictures = [tmp_path / "light.png", tmp_path / "dark.png"]
    browse(files[0], f"--screenshot={pictures[0]}")
    browse(files[0], DARK, f"--screenshot={pictures[1]}")
    light, dark = (brightness(picture) for picture in pictures)
    assert light > 0.8
    assert dark < 0.3


def brightness(picture: Path) -> float:
    """Return the mean of a picture's pixels, 0 (black) to 1."""
    import matplotlib.image

    return float(matplotlib.image.imread(picture)[..., :3].mean())


def test_it_prints(files: list[Path], tmp_path: Path) -> None:
    for file in files:
        printed = tmp_path / f"{file.stem}.pdf"
        browse(file, "--no-pdf-header-footer", f"--print-to-pdf={printed}")
        content = printed.read_bytes()
        assert content.startswith(b"%PDF")
        assert len(content) > 10_000


def test_every_section_is_reached_by_its_link(files: list[Path]) -> None:
    text = browse(files[0], "--dump-dom").stdout
    wanted = set(re.findall(r'href="#([\w-]+)"', text))
    assert wanted
    assert wanted <= set(re.findall(r'id="([\w-]+)"', text))
    regions = re.findall(r'<div class="wide"[^>]*>', text)
    assert all('tabindex="0"' in one and "aria-label" in one for one in regions)


def test_picture_for_the_readme(line: Line, tmp_path: Path) -> None:
    """Of the sentiment run where there is one here, else of the made-up one."""
    folder = Path(os.environ.get("TUNELINE_PICTURES", tmp_path))
    found = line, speeds()
    if (ROOT / "data" / "sentiment" / "verdict" / "manifest.json").is_file():
        found = open_line(ROOT / "data" / "sentiment", "sentiment"), read_speeds(ROOT, "sentiment")
    file = tmp_path / "report.html"
    file.write_text(page_html(Page(found[0], ReportSettings(), found[1])), encoding="utf-8")
    picture = folder.resolve() / "report.png"
    browse(file, f"--screenshot={picture}")
    assert picture.stat().st_size > 20_000
