"""The disk is full, the cache is damaged, the clock jumps."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from drilled import PATIENCE_S, Drilled, need_no_step_again, need_once, need_same

pytestmark = pytest.mark.drill

State = dict[str, Any]
CLOCK = Path(__file__).with_name("clock.c")
DAY = 24 * 3600


def failed(drilled: Drilled, *around: str) -> str:
    """Run the line, which must fail; return what it said."""
    done = drilled.run(*around, sys.executable, "-m", "flows.cli", "run", "toy")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_limit_on_the_size_of_files(drilled: Drilled, untouched: State) -> None:
    """EFBIG, as an unprivileged process can have it anywhere."""
    drilled.knob("fill").write_text("limit")
    assert "no room left on the disk" in failed(drilled)
    assert not list((drilled.root / "data" / "toy").glob(".*.tmp")), "something half-written stays"
    drilled.knob("fill").unlink()
    drilled.finish()
    need_same(drilled, untouched)
    assert drilled.logged("made").count("ingest") == 1


def test_a_full_disk(drilled: Drilled, untouched: State, tmp_path: Path) -> None:
    """A real file system of 8 MB that holds all of it (tmpfs in a user's own namespace)."""
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    tried = [*inside, "mount -t tmpfs none /mnt"]
    if subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("this system lets no user make a mount namespace of his own")
    kept = tmp_path / "kept"
    shutil.copytree(drilled.root, kept, symlinks=True)
    (drilled.root / "drill").mkdir(exist_ok=True)
    (kept / "drill").mkdir(exist_ok=True)
    (kept / "drill" / "fill").write_text("disk")
    # The project lies on the small disk; it is filled, told of, given room, and runs to its end.
    script = f"""
    mount -t tmpfs -o size=8m none {drilled.root} && cp -a {kept}/. {drilled.root}/ &&
    cd {drilled.root} && dd if=/dev/zero of={drilled.root}/ballast bs=64k count=60 2>/dev/null;
    {sys.executable} -m flows.cli run toy; code=$?
    rm -f ballast drill/fill {kept}/drill/fill
    cp -a {drilled.root}/. {kept}/
    exit $code
    """
    done = drilled.run(*inside, script)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "No space left" in done.stderr or "no room left" in done.stderr, done.stderr
    shutil.rmtree(drilled.root)
    shutil.copytree(kept, drilled.root, symlinks=True)
    drilled.finish()
    need_same(drilled, untouched)
    need_once(drilled, "train")


def objects(drilled: Drilled, output: str) -> list[Path]:
    """Return the cached objects of an output: the listing, then the files."""
    code = (
        "import json; from flows.locked import locked_hashes; from pathlib import Path; "
        "print(json.dumps(locked_hashes(Path.cwd(), 'toy')))"
    )
    name = drilled.ask(code)[output]
    cache = drilled.root / ".dvc/cache/files/md5"
    listing = cache / name[:2] / name[2:]
    entries = json.loads(listing.read_text())
    return [listing, *(cache / entry["md5"][:2] / entry["md5"][2:] for entry in entries)]


@pytest.mark.parametrize("which", ["file", "listing"])
def test_a_damaged_object_in_the_cache(which: str, drilled: Drilled, untouched: State) -> None:
    """The output is gone and comes from the cache, where a bit has flipped: it is made again."""
    drilled.finish()
    listing, *files = objects(drilled, "train")
    damaged = listing if which == "listing" else files[0]
    mode = damaged.stat().st_mode
    damaged.chmod(0o644)
    held = bytearray(damaged.read_bytes())
    held[len(held) // 2] ^= 1
    damaged.write_bytes(held)
    damaged.chmod(mode)
    shutil.rmtree(drilled.root / "data/toy/adapter")
    drilled.finish()
    state = drilled.state()
    for same in ("artefacts", "dvc", "versions", "aliases", "moves", "open", "ended"):
        assert state[same] == untouched[same], same
    assert state["runs"] == [["FINISHED", 2]]
    shutil.rmtree(drilled.root / "data/toy/adapter")
    done = drilled.run(sys.executable, "-m", "dvc", "checkout", "train@toy")
    assert done.returncode == 0, done.stderr
    assert drilled.manifests() == untouched["artefacts"], "the cache holds the right bytes again"


@pytest.fixture(scope="module")
def clock_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What shifts the time of day of the processes that it is loaded into; sleeping is as ever."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(CLOCK)], check=True)
    return library


@pytest.mark.parametrize("days", [-1, 3])
def test_the_clock_jumps(
    days: int, drilled: Drilled, untouched: State, clock_library: Path
) -> None:
    """The time of day is set in the middle of training; no step, point or lease hangs on it."""
    clock = drilled.root.parent / "clock"
    clock.write_text("0")
    drilled.extra |= {"LD_PRELOAD": str(clock_library), "DRILL_CLOCK": str(clock)}
    drilled.halt("train", "35")
    line = drilled.start()
    drilled.wait_here("train", line)
    before = drilled.run(sys.executable, "-c", "import time; print(time.time())")
    clock.write_text(str(days * DAY))
    after = drilled.run(sys.executable, "-c", "import time; print(time.time())")
    jumped = float(after.stdout) - float(before.stdout)
    assert abs(jumped - days * DAY) < PATIENCE_S, "the drill's own clock does not work"
    drilled.go_on("train")
    assert line.wait(PATIENCE_S) == 0
    del drilled.extra["LD_PRELOAD"], drilled.extra["DRILL_CLOCK"]
    need_same(drilled, untouched)
    need_once(drilled)
    need_no_step_again(drilled, before=60)
