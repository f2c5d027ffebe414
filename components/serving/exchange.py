"""One request on its way: its prompt, its job in the engine, and the events that come back."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from components.contracts.errors import ModelError, TunelineError
from components.runtime.shape import Prompt
from components.runtime.text import TooLongError
from components.serving.engine import BusyError, Engine, Event, Job, Said
from components.serving.errors import RequestError, busy
from components.serving.holder import Holder
from components.serving.replies import Reply
from components.serving.requests import Asked, ChatRequest, CompletionRequest


@dataclass
class Exchange:
    """A job that an engine has taken. `events` yields what it says, in order."""

    engine: Engine
    reply: Reply
    job: Job
    queue: "asyncio.Queue[Event]"
    began: float = field(default_factory=time.monotonic)

    async def events(self) -> AsyncIterator[Event]:
        """Yield events up to the end, which is an `End` or an exception."""
        while True:
            event = await self.queue.get()
            yield event
            if not isinstance(event, Said):
                return

    def cancel(self) -> None:
        """Tell the engine that nobody reads the answer any more."""
        self.job.cancelled = True


async def begin(holder: Holder, asked: ChatRequest | CompletionRequest) -> Exchange:
    """Give a request to the model in use; raise `RequestError` where it cannot be answered."""
    while True:
        engine = holder.engine
        need_model(engine, asked)
        prompt = await asyncio.to_thread(prompt_ids, engine, asked)
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event] = asyncio.Queue()

        def emit(event: Event, put: Any = queue.put_nowait, loop: Any = loop) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(put, event)

        room = engine.model.context_length - len(prompt)
        how = asked.generation(room, holder.limits)
        job = Job(prompt, how, emit, asked.stops(), asked.top)
        try:
            taken = holder.submit(engine, job)
        except BusyError as error:
            raise busy(error.retry_after) from error
        if taken:
            chat = isinstance(asked, ChatRequest)
            reply = Reply(chat, engine.title, engine.model, len(prompt), asked.top is not None)
            return Exchange(engine, reply, job, queue)


def need_model(engine: Engine, asked: Asked) -> None:
    """Raise `RequestError` unless the request names the model that is served."""
    wanted = asked.model.removeprefix("models:/")
    name, _, alias = wanted.partition("@")
    if wanted != engine.title and (name != engine.name or alias not in ("", "champion")):
        raise RequestError(
            f"the model '{asked.model}' is not served here; '{engine.name}' is",
            status=404,
            code="model_not_found",
            param="model",
        )


def prompt_ids(engine: Engine, asked: ChatRequest | CompletionRequest) -> list[int]:
    """Return the prompt's token ids; raise `RequestError` where it does not fit the model."""
    param = "messages" if isinstance(asked, ChatRequest) else "prompt"
    try:
        ids = _ids(engine, asked)
    except TooLongError as error:
        raise RequestError(error.problem, code="context_length_exceeded", param=param) from error
    except TunelineError as error:
        raise RequestError(str(error), param=param) from error
    most = engine.limits.max_prompt_tokens
    if most is not None and len(ids) > most:
        raise RequestError(
            f"the prompt has {len(ids)} tokens, but this server allows {most}",
            code="context_length_exceeded",
            param=param,
        )
    return ids


def _ids(engine: Engine, asked: ChatRequest | CompletionRequest) -> list[int]:
    model = engine.model
    if isinstance(asked, ChatRequest):
        prompt: Prompt = engine.shape.turns([turn.plain() for turn in asked.messages])
        return model.prompt_ids(prompt)
    given = asked.prompt
    if isinstance(given, list) and given and all(isinstance(one, int) for one in given):
        return _checked(engine, [int(one) for one in given])
    if isinstance(given, list):
        if len(given) != 1:
            raise ModelError(f"{len(given)} prompts in one request", fix="send one at a time")
        given = str(given[0])
    return model.prompt_ids(given)


def _checked(engine: Engine, ids: list[int]) -> list[int]:
    size, context = engine.model.model.vocab_size, engine.model.context_length
    if not all(0 <= one < size for one in ids):
        raise ModelError(f"a token id is not below {size}", fix="encode with the model's tokenizer")
    if len(ids) >= context:
        raise TooLongError(f"the prompt has {len(ids)} tokens, the model's context {context}")
    return ids
