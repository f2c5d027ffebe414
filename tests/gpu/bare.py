"""Run as on a machine that has none of the orchestration: `python bare.py` prints what it found.

Packages that a machine for training alone lacks are made not to be there; then everything that
training, scoring and running files needs is imported, and the tests for a GPU are collected.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from pathlib import Path
from typing import Any

MISSING = {
    *("prefect", "mlflow", "dvc", "great_expectations", "fastapi", "sqlalchemy", "typer", "rich"),
    *("pandas", "scipy", "matplotlib", "datasets", "gguf", "onnx", "onnx_ir", "onnxscript"),
    *("rapidfuzz", "lm_eval", "trl", "ray", "bitsandbytes"),
}
EXTRAS = {"lm_eval", "bitsandbytes"}
"""What a recipe asks for by itself; nothing else may be missed."""

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("contracts", "model", "training", "scoring", "runtime")


class Hidden(importlib.abc.MetaPathFinder):
    """Finds nothing, and lets nobody else find what is hidden."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def hide() -> None:
    """Make `MISSING` look as if it were not installed."""
    sys.meta_path.insert(0, Hidden())
    right = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        # Libraries ask whether another is there, and expect no error.
        return None if name.split(".")[0] in MISSING else right(name, package)

    importlib.util.find_spec = find_spec


def main() -> int:
    """Import all modules of the rooms and collect the tests."""
    hide()
    sys.path.insert(0, str(ROOT))
    count = 0
    for room in ROOMS:
        for file in sorted((ROOT / "components" / room).rglob("*.py")):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            try:
                importlib.import_module(name.removesuffix(".__init__"))
            except ModuleNotFoundError as error:
                if (error.name or "").split(".")[0] not in EXTRAS:
                    raise
                print(f"{name} needs an extra: {error.name}")
            count += 1
    print(f"imported {count} modules")
    import pytest

    # The project's own options stand in pyproject.toml, which travels with the tests.
    return int(pytest.main(["-q", "-p", "no:cacheprovider", str(ROOT / "tests" / "gpu")]))


if __name__ == "__main__":
    sys.exit(main())
