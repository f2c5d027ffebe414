"""A real PostgreSQL server of our own, from Debian's packages, for tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

UNPRIVILEGED = "nobody"
"""Who runs the server where the tests run as root, which PostgreSQL refuses."""


def binary(name: str) -> str:
    """Return the path of a program of the server; skip where it is not installed."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = next((str(p / name) for p in places if (p / name).is_file()), shutil.which(name))
    if found is None:
        pytest.skip("needs a PostgreSQL server (Debian: apt-get install postgresql)")
    return found


@contextmanager
def postgres_server(*databases: str) -> Iterator[str]:
    """Give `127.0.0.1:PORT` of a server with these databases and the user `line` (no password)."""
    initdb, ctl, psql = binary("initdb"), binary("pg_ctl"), binary("psql")
    who = {"user": UNPRIVILEGED} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if who:
        shutil.chown(folder, **who)  # type: ignore[call-overload]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"

    def call(*words: str) -> None:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=False, timeout=180, **who
        )  # type: ignore[call-overload]
        assert done.returncode == 0, done.stdout + done.stderr

    data = str(folder / "data")
    try:
        call(initdb, "-D", data, "-U", "line", "-A", "trust", "-E", "UTF8", "--no-sync")
        log = str(folder / "log")
        subprocess.run(
            [ctl, "-D", data, "-o", options, "-l", log, "-w", "-t", "120", "start"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, **who,
        )  # fmt: skip
        for name in databases:
            call(psql, "-h", "127.0.0.1", "-p", str(port), "-U", "line", "-d", "postgres", "-c",
                 f"CREATE DATABASE {name}")  # fmt: skip
        yield f"127.0.0.1:{port}"
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            call(ctl, "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)
