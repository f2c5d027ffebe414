"""An S3 server keeps what the line makes: MLflow's artefacts, and DVC's data for another clone."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml
from data_project import commit, done
from s3_server import BUCKET, s3_server
from test_register import run_register
from test_register import tiny_onnx as tiny_onnx  # the fixture
from toy_project import Toy

from components.contracts.kinds import Onnx
from flows.registry_lineage import Lineage
from flows.ui import HOST, free_port, stop

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    pytest.importorskip("dvc_s3")
    with s3_server(monkeypatch, tmp_path) as (address, client):
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", address)
        yield address, client


@contextmanager
def mlflow_server(toy: Toy) -> Iterator[str]:
    """Give the address of a server that keeps artefacts in the bucket; clients have no key."""
    port = free_port(0)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{toy.root}/mlflow/server.db", "--workers", "1"]
    command += ["--artifacts-destination", f"s3://{BUCKET}/mlflow"]
    env = {**toy.env(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    child = subprocess.Popen(
        command, cwd=toy.root, env=env, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + 240
        while True:
            try:
                with urlopen(f"http://{HOST}:{port}/health", timeout=5):
                    break
            except (URLError, OSError):
                assert time.monotonic() < end
                assert child.poll() is None
                time.sleep(0.3)
        yield f"http://{HOST}:{port}"
    finally:
        stop(child)


def test_mlflow_keeps_models_in_the_bucket(
    made: Toy, tiny_onnx: Onnx, store: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.store import champion_version, download

    _, client = store
    with mlflow_server(made) as address:
        made.enter(monkeypatch)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_S3_ENDPOINT_URL"):
            monkeypatch.delenv(name)
        run_register(made, tiny_onnx, promote=True)
        version = champion_version("toy-model")
        assert version is not None
        flavor = download(version, made.root / "back")

    path = flavor["artifacts"]["model"]["path"]
    for file in sorted(tiny_onnx.variant("fp32").iterdir()):
        assert (made.root / "back" / path / file.name).read_bytes() == file.read_bytes()
    kept = client.list_objects_v2(Bucket=BUCKET, Prefix="mlflow/")["Contents"]
    assert any(one["Key"].endswith("model.onnx") for one in kept)
    assert not list((made.root / "mlflow").rglob("model.onnx")), "none of it on this disk"


@pytest.mark.parametrize("where", [(), ("--local",)], ids=["committed", "local"])
def test_a_second_clone_reproduces_from_the_remote(
    made: Toy,
    store: tuple[str, Any],
    tmp_path: Path,
    where: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.registry_reproduce import reproduce

    address, _ = store
    rows = made.root / "data/inputs/toy/rows.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text('{"text": "What a day!"}\n')
    ignore = made.root / ".gitignore"
    ignore.write_text(ignore.read_text().replace("/data/\n", "/data/*/*\n!/data/inputs/*\n"))
    done(made, "dvc", "add", "-q", "data/inputs/toy/rows.jsonl")
    remote(made, address, *where)
    head = commit(made, "rows that DVC keeps")
    done(made, "dvc", "push", "-q")
    lock = yaml.safe_load((made.root / "dvc.lock").read_text())
    hashes = {
        Path(stage["outs"][0]["path"]).name: stage["outs"][0]["md5"]
        for stage in lock["stages"].values()
    }

    clone = Toy(tmp_path / "clone")
    subprocess.run(["git", "clone", "-q", str(made.root), str(clone.root)], check=True)
    if where:
        remote(clone, address, *where)  # a remote of this machine alone is set in every clone
    clone.enter(monkeypatch)
    found = reproduce(clone.root, version_of(head, hashes), until="evaluate")

    assert found.same, found.lines()
    assert (found.folder / "data/inputs/toy/rows.jsonl").read_bytes() == rows.read_bytes()
    assert {one.name for one in found.artefacts} == {"raw", "base", "adapter", "evaluation"}


def remote(project: Toy, address: str, *where: str) -> None:
    done(project, "dvc", "remote", "add", *where, "--default", "store", f"s3://{BUCKET}/dvc")
    done(project, "dvc", "remote", "modify", *where, "store", "endpointurl", address)


def version_of(head: str, artefacts: dict[str, str]) -> Lineage:
    """Return what a registry would say of a version that was made at a commit."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("sha256", "ship", "recipe_text", "mlflow_run_id", "prefect_flow_run_id", "verdict")
    )
    return Lineage(
        model="toy-model", version="1", git_commit=head, git_dirty=False, recipe="toy",
        artefacts=artefacts, inputs={}, base_model={}, environment={}, aliases=[], reasons=[],
        champions=[], moves=[], **nothing,
    )  # fmt: skip
