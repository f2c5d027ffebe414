"""Interpreters that differ in made-up packages, and a root whose golden check takes no time."""

import sys
from collections.abc import Mapping
from pathlib import Path

from toy_project import REPOSITORY

PROBE = f"""
import importlib, importlib.util, sys
from pathlib import Path

spec = importlib.util.spec_from_file_location("real", {str(REPOSITORY / "flows/canary_probe.py")!r})
real = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)

def golden(root, name, out):
    names = ("alpha", "beta", "gamma", "delta")
    there = [name for name in names if importlib.util.find_spec(name)]
    versions = dict.fromkeys(names, 0)
    versions |= {{name: importlib.import_module(name).VERSION for name in there}}
    fault = eval((root / "fault").read_text(), {{"sys": sys}}, versions)
    if isinstance(fault, Exception):
        raise fault
    return {{"losses": [2.0, 1.0 + 0.5 * fault], "dtype": "float32"}}

real.TOLD["golden"] = golden
real.TOLD["parity"] = lambda *words: {{"passed": True, "max_logit_difference": 0.0, "limit": 1e-3}}
real.TOLD["roundtrip"] = lambda *words: {{"answers": ["yes"]}}
sys.exit(real.main(sys.argv[1:]))
"""


def make_root(root: Path, fault: str) -> Path:
    """Write a root whose golden check is off where `fault`, said of the versions, is true."""
    (root / "flows").mkdir(parents=True)
    (root / "recipes").mkdir()
    (root / "recipes/toy.yaml").write_text("{}", encoding="utf-8")
    (root / "flows/__init__.py").touch()
    (root / "dvc.yaml").touch()
    (root / "flows/canary_probe.py").write_text(PROBE, encoding="utf-8")
    (root / "fault").write_text(fault, encoding="utf-8")
    return root


def interpreter(folder: Path, versions: Mapping[str, int], requires: str = "") -> str:
    """Write a command that is this interpreter with made-up packages; return its path."""
    site = folder / "site"
    for name, version in versions.items():
        package(site, name, version, {f"{name}.py": f"VERSION = {version}\n"}, requires)
    return command(folder, site)


def command(folder: Path, site: Path) -> str:
    """Write a command that is this interpreter with one more folder on its path."""
    file = folder / "python"
    file.write_text(
        f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{site}" exec "{sys.executable}" "$@"\n',
        encoding="utf-8",
    )
    file.chmod(0o755)
    return str(file)


def package(
    site: Path, name: str, version: int, files: Mapping[str, str], requires: str = ""
) -> None:
    """Install a made-up package into a folder, as pip would leave it."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    needed = f"Requires-Dist: {requires}\n" if requires and requires != name else ""
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}"
    (info / "METADATA").write_text(text, encoding="utf-8")
    for file, content in files.items():
        (site / file).write_text(content, encoding="utf-8")
    lines = [f"{info.name}/METADATA,,", f"{info.name}/RECORD,,", *(f"{file},," for file in files)]
    (info / "RECORD").write_text("\n".join(lines) + "\n", encoding="utf-8")
