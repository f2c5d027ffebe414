"""The server under many requests, while its model changes, and as it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from aliases import set_aliases
from running import KEY, ROOT, Running, Start, asked, until

from components.contracts.errors import ModelError
from components.contracts.kinds import Onnx
from components.runtime.text import TextModel
from flows.serve import read_keys

openai = pytest.importorskip("openai", reason="the openai client is in the dev extra")


def test_twenty_at_once_are_answered_as_each_alone(start: Start, model: TextModel) -> None:
    server = start(max_concurrency=8, max_queue=20)
    texts = [f"{'so ' * (n % 5)}good {n}" for n in range(20)]
    expected = [model.answer(asked(text), max_new_tokens=16) for text in texts]
    before = server.holder.engine.steps
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda text: server.chat(text, max_tokens=16), texts))
    assert [one.choices[0].message.content for one in found] == expected
    engine = server.holder.engine
    assert engine.together
    written = sum(one.usage.completion_tokens for one in found)
    assert engine.steps - before < written / 2, "decoded together"
    told = httpx.get(f"{server.url}/metrics").text
    assert f"tuneline_completion_tokens_total {float(written)}" in told
    assert 'tuneline_requests_total{endpoint="/v1/chat/completions",status="200"} 20.0' in told
    assert 'version="1"' in told


def test_more_than_may_wait_are_told_when_to_come_again(start: Start) -> None:
    server = start(max_concurrency=1, max_queue=1)
    going = server.hold()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.chat, "one")
        until(lambda: server.holder.engine.rows)
        second = pool.submit(server.chat, "two")
        until(lambda: server.holder.engine.waiting)
        with pytest.raises(openai.RateLimitError) as caught:
            server.chat("three")
        assert int(caught.value.response.headers["retry-after"]) >= 1
        going.set()
        assert first.result().usage.completion_tokens == 8
        assert second.result().usage.completion_tokens == 8
    assert server.chat("three").usage.completion_tokens == 8


def test_a_new_champion_takes_over_while_requests_run(
    start: Start, model: TextModel, other_onnx: Onnx
) -> None:
    server = start()
    old, going = server.holder.engine, server.hold()
    with ThreadPoolExecutor(1) as pool:
        flying = pool.submit(server.chat, "so good")
        until(lambda: old.rows)
        set_aliases("tiny", "2", ["champion"])
        until(lambda: server.holder.engine is not old)
        fresh = server.chat("so good")
        assert not flying.done()
        going.set()
        ended = flying.result()
    other = TextModel(other_onnx.variant("fp32"), threads=1)
    assert (ended.model, fresh.model) == ("tiny/1", "tiny/2")
    assert ended.choices[0].message.content == model.answer(asked("so good"), max_new_tokens=8)
    assert fresh.choices[0].message.content == other.answer(asked("so good"), max_new_tokens=8)
    old.join(10)
    assert not old.alive, "the old model goes when its last request has ended"
    assert (
        'tuneline_model_reloads_total{result="done"} 1.0' in httpx.get(f"{server.url}/metrics").text
    )


def test_a_version_that_cannot_be_opened_changes_nothing(start: Start, project: Path) -> None:
    from flows.model_ref import find_model

    server = start()
    file = find_model(project, "tiny/2").folder / "genai_config.json"
    kept = file.read_bytes()
    file.write_bytes(b"{}")
    try:
        set_aliases("tiny", "2", ["champion"])
        failed = 'tuneline_model_reloads_total{result="failed"}'
        until(lambda: failed in httpx.get(f"{server.url}/metrics").text)
        assert server.chat("so good").model == "tiny/1"
    finally:
        file.write_bytes(kept)
    until(lambda: server.holder.engine.version == "2")


def test_a_client_that_leaves_frees_its_place(start: Start) -> None:
    server = start(max_concurrency=1, max_queue=0)
    going = server.hold()
    stream = server.chat("so good", stream=True, max_tokens=200)
    next(iter(stream))
    until(lambda: server.holder.engine.rows)
    job = server.holder.engine.rows[0].job
    stream.close()
    until(lambda: job.cancelled)
    going.set()
    until(lambda: not server.holder.engine.rows)
    assert server.chat("so good").usage.completion_tokens == 8


@pytest.mark.slow
def test_sigterm_ends_what_was_begun(project: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    child = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "serve", "tiny@champion", "--port", str(port)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TUNELINE_API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        running = Running(None, f"http://127.0.0.1:{port}")  # type: ignore[arg-type]
        until(lambda: child.poll() is not None or reachable(running.url), 60)
        stream = iter(running.chat("so good", stream=True, max_tokens=200))
        pieces = [next(stream)]
        child.send_signal(signal.SIGTERM)
        pieces += list(stream)
        assert pieces[-1].choices[0].finish_reason == "length"
        assert child.wait(30) == 0
    finally:
        child.kill()
        output = child.communicate()[0]
    assert "serving tiny/1 on cpu" in output
    assert "decoded together" in output
    assert KEY not in output


def reachable(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_keys_come_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from flows.cli import app

    monkeypatch.delenv("TUNELINE_API_KEY", raising=False)
    assert read_keys(None) == ()
    monkeypatch.setenv("TUNELINE_API_KEY", "one")
    assert read_keys(None) == ("one",)
    (tmp_path / "keys").write_text("# ours\na\n\n b \n", encoding="utf-8")
    assert read_keys(tmp_path / "keys") == ("a", "b")
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    with pytest.raises(ModelError, match="holds no key"):
        read_keys(tmp_path / "empty")
    monkeypatch.delenv("TUNELINE_API_KEY")
    done = CliRunner().invoke(app, ["serve", "tiny", "--host", "0.0.0.0"])
    assert isinstance(done.exception, ModelError)
    assert "no API key" in str(done.exception)
    assert json.dumps(str(done.exception)).count("127.0.0.1") == 1
