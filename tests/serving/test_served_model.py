"""The registered model through MLflow: loaded, and served by `mlflow models serve`."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from components.contracts.kinds import Onnx
from components.runtime.text import TextModel

SYSTEM = {"role": "system", "content": "good, fair or poor?"}
USER = {"role": "user", "content": "so good"}


@pytest.fixture
def loaded(project: Path) -> Any:
    import mlflow

    # What another test's project was stays MLflow's own until it is told otherwise.
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    return mlflow.pyfunc.load_model("models:/tiny@champion")


@pytest.fixture
def model(tiny_onnx: Onnx) -> TextModel:
    return TextModel(tiny_onnx.variant("fp32"))


def test_rows_are_answered_as_the_model_was_trained(loaded: Any, model: TextModel) -> None:
    expected = model.answer([SYSTEM, USER], max_new_tokens=6)
    rows = [{"text": "so good", "max_new_tokens": 6}]
    assert loaded.predict(rows) == [expected]
    assert loaded.predict(pd.DataFrame(rows)) == [expected]
    asked = {"messages": [USER]}
    assert loaded.predict([asked], params={"max_new_tokens": 6}) == [expected]
    assert loaded.predict([{"messages": [SYSTEM, USER], "max_new_tokens": 6}]) == [expected]


def test_params_hold_for_all_rows_and_a_row_may_differ(loaded: Any, model: TextModel) -> None:
    rows = [{"text": "so good", "max_new_tokens": 3}, {"text": "so good"}, {"text": "bad"}]
    how = {"temperature": 1.0, "seed": 5, "max_new_tokens": 9, "top_k": 20}
    found = loaded.predict(rows, params=how)
    bad = {"role": "user", "content": "bad"}
    assert found == [
        model.answer([SYSTEM, USER], **{**how, "max_new_tokens": 3}),
        model.answer([SYSTEM, USER], **how),
        model.answer([SYSTEM, bad], **how),
    ]
    stop = found[1][2:4]
    cut = loaded.predict([{"text": "so good"}], params={**how, "stop": [stop]})
    assert cut == [found[1][: found[1].index(stop)]]


def test_the_signature_names_what_can_be_set(project: Path) -> None:
    import mlflow

    signature = mlflow.models.get_model_info("models:/tiny@champion").signature
    names = {spec.name for spec in signature.params}
    assert {"temperature", "top_p", "top_k", "max_new_tokens", "stop", "seed"} <= names
    assert set(signature.inputs.input_names()) >= {"text", "messages", "max_new_tokens"}


def test_wrong_rows_are_refused(loaded: Any) -> None:
    for rows, fault in (
        ([{"max_new_tokens": 3}], ValidationError),
        ([{"text": "a", "messages": [USER]}], ValidationError),
        ([{"text": "a", "temperature": -1.0}], ValidationError),
        ([{"text": 3}], MlflowException),
    ):
        with pytest.raises(fault):
            loaded.predict(rows)


def test_a_model_of_plain_text_goes_on_from_it(project: Path, model: TextModel) -> None:
    import mlflow

    plain = mlflow.pyfunc.load_model("models:/texts@champion")
    expected = model.answer("Once upon", max_new_tokens=6)
    assert plain.predict([{"text": "Once upon", "max_new_tokens": 6}]) == [expected]


@pytest.mark.slow
def test_mlflow_serves_it(project: Path, model: TextModel, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = ["models", "serve", "-m", "models:/tiny@champion", "--env-manager", "local"]
    child = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words, "--port", port],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert child.poll() is None, child.communicate()[0]
            try:
                if httpx.get(f"{url}/ping").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        expected = model.answer([SYSTEM, USER], max_new_tokens=6)
        by_rows = {"dataframe_records": [{"text": "so good"}], "params": {"max_new_tokens": 6}}
        as_chat = {"messages": [USER], "max_new_tokens": 6}
        for body in (by_rows, as_chat):
            found = httpx.post(f"{url}/invocations", json=body, timeout=60)
            assert found.status_code == 200, found.text
            told = json.loads(found.text)
            assert (told if isinstance(told, list) else told["predictions"]) == [expected]
    finally:
        os.killpg(child.pid, 15)
        child.wait(30)
