"""A distribution file from the package index, by pip, by hash; nothing is installed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from components.contracts.artefacts import sha256
from components.contracts.errors import (
    SourceError,
    SpaceError,
    TunelineError,
    UnreachableError,
)
from components.contracts.events import Context
from components.sources.settings import PackageSettings


def download(settings: PackageSettings, context: Context) -> Path:
    """Return the distribution file, from an earlier download if its hash still holds.

    Downloads are kept in `context.scratch/downloads/SHA256/` and arrive there whole or not at all.
    Raises `SourceError` for a wrong hash, an unknown version or no network.
    """
    home = context.scratch / "downloads" / settings.sha256
    for file in home.glob("*"):
        if sha256(file) == settings.sha256:
            return file
    shutil.rmtree(home, ignore_errors=True)
    context.events.note(f"downloading {settings.name} {settings.version} ({settings.distribution})")
    temporary = home.with_name(f".{settings.sha256}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "files").mkdir(parents=True)
    try:
        _run_pip(settings, temporary)
        _verify(settings, temporary / "files")
        (temporary / "files").rename(home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return next(home.iterdir())


def _run_pip(settings: PackageSettings, folder: Path) -> None:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{settings.name}=={settings.version} --hash=sha256:{settings.sha256}\n")
    only = "--no-binary" if settings.distribution == "sdist" else "--only-binary"
    # pip checks the hash before it looks into an sdist, so no stranger's setup.py is run.
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    command += ["download", "--no-deps", "--no-build-isolation", "--require-hashes"]
    command += ["--progress-bar", "off", "--dest", str(folder / "files"), only, ":all:"]
    command += ["-r", str(wanted)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise explain(settings, done.stdout)


def _verify(settings: PackageSettings, folder: Path) -> None:
    files = list(folder.iterdir())
    found = {file.name: sha256(file) for file in files}
    if list(found.values()) != [settings.sha256]:
        raise SourceError(
            f"pip brought {found or 'nothing'} for {settings.name}=={settings.version}, but the "
            f"file with sha256 {settings.sha256} is needed",
            fix="check name, version, distribution and sha256 in the recipe",
        )


def explain(settings: PackageSettings, output: str) -> TunelineError:
    """Turn what pip said into an error that names the next move."""
    wanted = f"{settings.name}=={settings.version} ({settings.distribution})"
    got = re.search(r"Got\s+([0-9a-f]{64})", output)
    if got:
        return SourceError(
            f"{wanted}: the file has another hash than the recipe\n"
            f"  expected sha256 {settings.sha256}\n  found    sha256 {got[1]}",
            fix="if you trust the new file, put its hash into the recipe; otherwise do not use it",
        )
    if "No space left on device" in output:
        return SpaceError(f"no room left on the disk while downloading {wanted}")
    if re.search(r"No module named '?pip", output):
        return SourceError(
            f"{wanted} cannot be downloaded: this Python has no pip",
            fix="python -m ensurepip",
        )
    if re.search(r"connection|timed? ?out|name resolution|Max retries|ProxyError", output, re.I):
        return UnreachableError(
            f"{wanted} cannot be downloaded: the package index does not answer\n{_end(output)}",
            fix="check the network or pip's index settings and run again: what is done is kept",
        )
    if "No matching distribution" in output:
        return SourceError(
            f"the package index has no {wanted}\n{_end(output)}",
            fix="check name, version and distribution (sdist or wheel) in the recipe, then the "
            "network and pip's index settings",
        )
    return SourceError(f"pip could not download {wanted}\n{_end(output)}")


def _end(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return "\n".join(f"  pip: {line[:300]}" for line in lines[-3:])
