"""A project whose registry holds tiny models, made once: `tiny` in two versions, `texts` in one."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from aliases import set_aliases
from running import KEY, Running, Start, until
from tiny_export import write_adapter, write_export

from components.contracts.kinds import BaseModelFolder, Onnx
from components.export.settings import ExportSettings
from components.runtime.text import TextModel
from components.serving.app import Server
from components.serving.holder import Holder
from components.serving.limits import Limits
from components.serving.metrics import Metrics
from flows.environment import prepare
from flows.serve import Registry

STORES = ("MLFLOW_TRACKING_URI", "PREFECT_API_DATABASE_CONNECTION_URL")
LABELS = ["good", "fair", "poor"]
CONFIG = {
    "system": "good, fair or poor?",
    "template": "{text}",
    "plain": False,
    "labels": LABELS,
    "single_turn": True,
    "device": "cpu",
}


@pytest.fixture(scope="session")
def other_onnx(tiny_base: BaseModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Onnx:
    """Another fine-tuning of the same base: it answers differently."""
    folder = tmp_path_factory.mktemp("other")
    adapter = write_adapter(tiny_base, folder / "adapter", seed=1)
    return write_export(tiny_base, adapter, folder, ExportSettings(variants=("fp32",)))


@pytest.fixture(scope="session")
def registry_template(
    tiny_onnx: Onnx, other_onnx: Onnx, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """`tiny/1` is champion, `tiny/2` challenger; `texts/1` was trained on plain text."""
    root = tmp_path_factory.mktemp("served")
    (root / "recipes").mkdir()
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    plain = {"system": None, "template": "{text}", "plain": True, "labels": [], "device": "cpu"}
    with pytest.MonkeyPatch.context() as monkeypatch:
        enter(root, monkeypatch)
        register("tiny", tiny_onnx.variant("fp32"), CONFIG, ["challenger", "champion"])
        register("tiny", other_onnx.variant("fp32"), CONFIG, ["challenger"])
        register("texts", tiny_onnx.variant("fp32"), plain, ["champion"])
    return root


@pytest.fixture
def project(registry_template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project as working directory and environment; aliases are put back afterwards."""
    enter(registry_template, monkeypatch)
    monkeypatch.chdir(registry_template)
    yield registry_template
    set_aliases("tiny", "1", ["champion"])
    set_aliases("tiny", "2", ["challenger"])
    shutil.rmtree(registry_template / ".tuneline" / "models", ignore_errors=True)


def enter(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the environment of a project."""
    for name in STORES:
        monkeypatch.delenv(name, raising=False)
    environ = {"PATH": os.environ["PATH"]}
    prepare(root, environ)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


def register(name: str, folder: Path, config: dict[str, object], aliases: list[str]) -> None:
    """Register a folder as `flows.register` does, without a line around it."""
    from flows import registry
    from flows.registry_check import folder_hash
    from flows.store import client

    store = client()
    found = store.get_experiment_by_name(name)
    place = (Path(os.environ["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")).parent).as_uri()
    experiment = found.experiment_id if found else store.create_experiment(name, f"{place}/files")
    run = store.create_run(experiment).info.run_id
    shipped = registry.Shipped(
        name=name,
        folder=folder,
        config=config,
        example={"text": "so good", "max_new_tokens": 4},
        tags={registry.HASH: folder_hash(folder)},
    )
    set_aliases(name, registry.register_version(run, shipped), aliases)


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def begin(
        model: str = "tiny@champion", keys: tuple[str, ...] = (KEY,), **limits: Any
    ) -> Running:
        holder = Holder(Registry(project, model, None, 1), Limits(**limits), Metrics())
        app = Server(holder, keys, poll_seconds=0.1).app()
        config = uvicorn.Config(app, port=0, log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        return Running(holder, f"http://127.0.0.1:{port}")

    yield begin
    for server, thread in running:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def model(tiny_onnx: Onnx) -> TextModel:
    return TextModel(tiny_onnx.variant("fp32"), threads=1)
