"""The server, asked by OpenAI's own client, with real tiny models from a real registry."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from aliases import set_aliases

from components.contracts.errors import ModelError
from components.contracts.kinds import Onnx
from components.runtime.text import TextModel
from components.serving.app import Server
from components.serving.holder import Holder
from components.serving.limits import Limits
from components.serving.metrics import Metrics
from flows.serve import Registry, read_keys

openai = pytest.importorskip("openai", reason="the openai client is in the dev extra")

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-a-key-for-tests"
SYSTEM = {"role": "system", "content": "good, fair or poor?"}
Start = Callable[..., "Running"]


@dataclass
class Running:
    """A server in a thread of this process."""

    holder: Holder
    url: str

    def client(self, key: str = KEY, **how: Any) -> Any:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, **{"max_retries": 0, **how})

    def chat(self, text: str, **how: Any) -> Any:
        messages = [{"role": "user", "content": text}]
        how = {"model": "tiny", "max_tokens": 8, **how}
        return self.client().chat.completions.create(messages=messages, **how)

    def hold(self) -> threading.Event:
        """Let the engine take no step until the event that is returned is set."""
        going = threading.Event()
        cache = self.holder.engine._cache
        step = cache.step

        def waits(tokens: Any) -> Any:
            assert going.wait(30)
            return step(tokens)

        cache.step = waits  # type: ignore[method-assign]
        return going


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


def until(true: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def asked(text: str) -> list[dict[str, str]]:
    return [SYSTEM, {"role": "user", "content": text}]


@pytest.fixture
def model(tiny_onnx: Onnx) -> TextModel:
    return TextModel(tiny_onnx.variant("fp32"), threads=1)


def test_an_answer_is_the_model_s_own(start: Start, model: TextModel) -> None:
    found = start().chat("so good")
    choice = found.choices[0]
    assert choice.message.content == model.answer(asked("so good"), max_new_tokens=8)
    assert choice.finish_reason == "length"
    assert found.model == "tiny/1"
    assert found.usage.prompt_tokens == len(model.prompt_ids(asked("so good")))
    assert (found.usage.completion_tokens, choice.logprobs) == (8, None)


def test_a_stream_is_the_same_answer_in_pieces(start: Start) -> None:
    server = start()
    how: dict[str, Any] = {"temperature": 1.0, "seed": 7, "max_tokens": 24, "top_p": 0.9}
    whole = server.chat("so good", **how)
    pieces = list(
        server.chat("so good", stream=True, stream_options={"include_usage": True}, **how)
    )
    assert pieces[0].choices[0].delta.role == "assistant"
    text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
    assert text == whole.choices[0].message.content
    assert len(pieces) > 5
    assert pieces[-1].usage == whole.usage
    assert pieces[-2].choices[0].finish_reason == "length"
    assert server.chat("so good", **{**how, "seed": 8}).choices[0].message.content != text


def test_a_stop_text_ends_both_kinds_of_answers(start: Start) -> None:
    server = start()
    free = server.chat("so good", max_tokens=24).choices[0].message.content
    stop = free[6:8]
    cut = free[: free.index(stop)]
    whole = server.chat("so good", max_tokens=24, stop=[stop, "never there"])
    assert whole.choices[0].message.content == cut
    assert whole.choices[0].finish_reason == "stop"
    pieces = list(server.chat("so good", max_tokens=24, stop=stop, stream=True))
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == cut
    assert pieces[-1].choices[0].finish_reason == "stop"


def test_log_probabilities_are_the_model_s(start: Start, model: TextModel) -> None:
    server = start()
    found = server.chat("so good", max_tokens=3, logprobs=True, top_logprobs=2)
    told = found.choices[0].logprobs.content
    ids = model.prompt_ids(asked("so good"))
    logits = model.model.forward(np.array([ids]), last_only=True)[0][0, -1].astype(np.float64)
    expected = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
    assert told[0].logprob == pytest.approx(expected.max(), abs=1e-4)
    assert told[0].top_logprobs[0].token == told[0].token
    assert told[0].top_logprobs[1].logprob == pytest.approx(np.sort(expected)[-2], abs=1e-4)
    assert len(told) == 3
    pieces = server.chat("so good", max_tokens=3, logprobs=True, top_logprobs=2, stream=True)
    streamed = [
        one for p in pieces for one in getattr(p.choices[0].logprobs, "content", None) or ()
    ]
    assert streamed == told


def test_completions_go_on_from_the_prompt_as_it_is(start: Start, model: TextModel) -> None:
    client = start("texts@champion").client()
    ask = client.completions.create
    found = ask(model="texts", prompt="Once upon", max_tokens=8)
    assert found.choices[0].text == model.answer("Once upon", max_new_tokens=8)
    ids = model.prompt_ids("Once upon")
    assert ask(model="texts", prompt=ids, max_tokens=8).choices[0].text == found.choices[0].text
    pieces = list(ask(model="texts", prompt="Once upon", max_tokens=8, stream=True, logprobs=1))
    assert "".join(p.choices[0].text for p in pieces) == found.choices[0].text
    assert sum(len(p.choices[0].logprobs.tokens) for p in pieces if p.choices[0].logprobs) == 8
    with pytest.raises(openai.BadRequestError, match="plain text"):
        client.chat.completions.create(model="texts", messages=asked("x"))


def test_a_key_is_needed_and_stands_in_no_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tuneline.serve")
    server = start()
    for key in ("sk-wrong", KEY + "x", KEY[:-1]):
        with pytest.raises(openai.AuthenticationError) as caught:
            server.client(key).models.list()
        assert caught.value.code == "invalid_api_key"
    assert [one.id for one in server.client().models.list()] == ["tiny"]
    assert server.client().models.retrieve("tiny@champion").id == "tiny"
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert "/v1/models 401" in caplog.text
    assert KEY not in caplog.text
    assert "sk-wrong" not in caplog.text


def test_what_is_too_long_is_refused(start: Start, model: TextModel) -> None:
    server = start(max_new_tokens=32, max_body_bytes=200_000)
    with pytest.raises(openai.BadRequestError) as caught:
        server.chat("a" * model.context_length)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(openai.BadRequestError, match="allows 32"):
        server.chat("so good", max_tokens=33)
    room = model.context_length - len(model.prompt_ids(asked("")))
    with pytest.raises(openai.BadRequestError, match="room for 4 more"):
        server.chat("a" * (room - 4), max_tokens=5)
    assert server.chat("a" * (room - 4), max_tokens=4).usage.completion_tokens == 4
    with pytest.raises(openai.APIStatusError, match="longer than 200000") as long:
        server.chat("a" * 200_000)
    assert long.value.status_code == 413


def test_what_cannot_be_obeyed_is_refused(start: Start) -> None:
    server = start()
    for how, param in (
        ({"n": 2}, "n"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"temperature": 3}, "temperature"),
        ({"extra_body": {"temprature": 1}}, "temprature"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            server.chat("so good", **how)
        assert caught.value.param == param
    kept = {"n": 1, "user": "me", "extra_body": {"top_k": 1, "repetition_penalty": 1.1}}
    assert server.chat("so good", **kept).usage.completion_tokens == 8
    with pytest.raises(openai.NotFoundError, match="'tiny' is"):
        server.chat("so good", model="gpt-4o")
    headers = {"Authorization": f"Bearer {KEY}"}
    for body in (b"{", b"[]"):
        broken = httpx.post(f"{server.url}/v1/completions", content=body, headers=headers)
        assert broken.status_code == 400
        assert broken.json()["error"]["type"] == "invalid_request_error"
    assert httpx.get(f"{server.url}/v1/nothing").json()["error"]["code"] == "not_found"


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
