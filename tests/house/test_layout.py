"""Folders that could shadow a library do not."""

from pathlib import Path

import mlflow

ROOT = Path(__file__).resolve().parents[2]


def test_mlflow_is_the_library() -> None:
    assert "site-packages" in (mlflow.__file__ or "")


def test_mlflow_and_data_hold_no_python() -> None:
    found = [p for folder in ("mlflow", "data") for p in (ROOT / folder).rglob("*.py")]
    assert [p for p in found if "artifacts" not in p.parts] == []


def test_top_level_is_as_promised() -> None:
    promised = ["flows", "components", "data", "dvc.yaml", "mlflow", "tests"]
    assert all((ROOT / name).exists() for name in [*promised, "pyproject.toml", "README.md"])


def test_constraints_hold_no_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all("==" in line and "//" not in line and "@" not in line for line in lines if line)
