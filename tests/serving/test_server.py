"""The server, asked by OpenAI's own client, with real tiny models from a real registry."""

import logging
from typing import Any

import httpx
import numpy as np
import pytest
from running import KEY, Start, asked

from components.runtime.text import TextModel

openai = pytest.importorskip("openai", reason="the openai client is in the dev extra")


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
