"""Tokenising on a real Ray cluster gives the bytes that one process gives."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy_project import REPOSITORY, Toy

from components.contracts.kinds import BaseModelFolder, Dataset
from components.contracts.tables import dataset_schema

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="Ray is not installed")

ROWS = {"train": 9_000, "validation": 40, "test": 20}
"""More than fit into a batch."""


def test_tokenising_on_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_base: BaseModelFolder
) -> None:
    root = tmp_path / "project"
    (root / "recipes").mkdir(parents=True)
    shutil.copy(REPOSITORY / "dvc.yaml", root / "dvc.yaml")
    shutil.copy(REPOSITORY / "recipes" / "tiny.yaml", root / "recipes" / "tiny.yaml")
    (root / "params.yaml").write_text("recipes:\n- tiny\n", encoding="utf-8")
    Toy(root).enter(monkeypatch)
    shutil.copytree(tiny_base.path, root / "data" / "tiny" / "base")
    with Dataset.write(root / "data" / "tiny" / "dataset") as draft:
        for split, count in ROWS.items():
            lines = [row(split, number) for number in range(count)]
            table = pa.Table.from_pylist(lines, schema=dataset_schema())
            pq.write_table(table, draft.folder / f"{split}.parquet")

    manifests = []
    for address in ("", "local"):
        monkeypatch.setenv("TUNELINE_RAY", address)
        done = subprocess.run(
            [sys.executable, "-m", "flows.stage", "tokenize", "tiny"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        manifest = root / "data" / "tiny" / "tokens" / "manifest.json"
        manifests.append(manifest.read_bytes())
        manifest.unlink()
    assert manifests[0] == manifests[1]
    splits = json.loads(manifests[0])["facts"]["splits"]
    assert {name: one["rows"] for name, one in splits.items()} == ROWS


def row(split: str, number: int) -> dict[str, object]:
    text = f"{split} {number} " + "so " * (number % 5)
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": "good"}]
    return {
        "id": f"{split}-{number}",
        "source": "made",
        "row": number,
        "text": text,
        "messages": json.dumps(turns),
        "answer": "good",
        "choices": ["good", "poor"],
        "target": 0,
        "rejected": "",
        "references": ["good"],
    }
