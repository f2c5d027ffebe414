"""The HTTP server: OpenAI's endpoints, health, readiness and metrics."""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from components.serving.engine import End, Said
from components.serving.errors import RequestError, failed
from components.serving.exchange import Exchange, begin
from components.serving.holder import Holder
from components.serving.replies import DONE, event
from components.serving.requests import Asked, ChatRequest, CompletionRequest, read_request

log = logging.getLogger("tuneline.serve")
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True)
class Server:
    """The endpoints over one `holder`. With `keys`, all below /v1/ need one of them."""

    holder: Holder
    keys: tuple[str, ...] = ()
    poll_seconds: float = 5.0

    def app(self) -> Starlette:
        """Return the application; while it runs, the model in use is kept up to date."""
        routes = [
            Route(CHAT, self._told(CHAT, self.chat), methods=["POST"]),
            Route(COMPLETIONS, self._told(COMPLETIONS, self.completions), methods=["POST"]),
            Route("/v1/models", self._told("/v1/models", self.models)),
            Route("/v1/models/{name:path}", self._told("/v1/models", self.model)),
            Route("/health", self.health),
            Route("/ready", self.health),
            Route("/metrics", self.metrics),
        ]
        handlers: Any = {HTTPException: not_there}
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(self.holder.watch(self.poll_seconds))
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        self.holder.close()

    def _told(self, endpoint: str, handler: Handler) -> Handler:
        """Wrap a handler: the key first, faults as JSON, every request counted and logged."""

        async def answer(request: Request) -> Response:
            began = time.monotonic()
            try:
                self._need_key(request)
                response = await handler(request)
            except RequestError as error:
                response = JSONResponse(error.body, error.status, error.headers)
            # Whatever else goes wrong is ours: the client learns that, the log what it was.
            except Exception:
                log.exception("%s failed", endpoint)
                body = failed("the server failed").body
                response = JSONResponse(body, 500)
            if not isinstance(response, StreamingResponse):
                self._count(endpoint, response.status_code, time.monotonic() - began)
            return response

        return answer

    def _need_key(self, request: Request) -> None:
        if not self.keys:
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        # Every key is compared, in a time that does not tell how much of it was right.
        right = [hmac.compare_digest(given, key.encode()) for key in self.keys]
        if not any(right):
            raise RequestError(
                "a valid API key is needed: Authorization: Bearer KEY",
                status=401,
                code="invalid_api_key",
                kind="authentication_error",
            )

    def _count(self, endpoint: str, status: int, seconds: float) -> None:
        self.holder.metrics.requests.labels(endpoint, str(status)).inc()
        self.holder.metrics.seconds.observe(seconds)
        log.info("%s %d %.3f s", endpoint, status, seconds)

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, ChatRequest, CHAT)

    async def completions(self, request: Request) -> Response:
        return await self._answer(request, CompletionRequest, COMPLETIONS)

    async def _answer(self, request: Request, kind: type[Asked], endpoint: str) -> Response:
        asked = read_request(kind, await self._body(request))
        exchange = await begin(self.holder, asked)
        self.holder.metrics.prompt.inc(exchange.reply.prompt_tokens)
        if asked.stream:
            stream = self._stream(exchange, endpoint, with_usage=asked.with_usage)
            headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            return StreamingResponse(stream, media_type="text/event-stream", headers=headers)
        leaving = asyncio.create_task(_gone(request))
        collecting = asyncio.create_task(self._collect(exchange))
        try:
            await asyncio.wait({leaving, collecting}, return_when=asyncio.FIRST_COMPLETED)
            if not collecting.done():
                return Response(status_code=499)  # nobody reads it
            return JSONResponse(await collecting)
        finally:
            exchange.cancel()
            leaving.cancel()
            collecting.cancel()

    async def _body(self, request: Request) -> dict[str, Any]:
        """Return the body as JSON, read no further than the limit."""
        most, body = self.holder.limits.max_body_bytes, b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise RequestError(f"the body is longer than {most} bytes", status=413)
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"the body is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise RequestError("the body must be a JSON object")
        return found

    async def _collect(self, exchange: Exchange) -> dict[str, Any]:
        text, said = "", list[Said]()
        async for one in exchange.events():
            if isinstance(one, Exception):
                raise failed(str(one))
            if isinstance(one, End):
                self._written(len(said))
                return exchange.reply.whole(text + one.text, said, one.finish)
            self._first(exchange, said)
            text, said = text + one.text, [*said, one]
        raise failed("the answer has no end")

    async def _stream(
        self, exchange: Exchange, endpoint: str, *, with_usage: bool
    ) -> AsyncIterator[bytes]:
        """Yield server-sent events; tokens whose text is not certain yet wait for the next."""
        reply, said, kept = exchange.reply, list[Said](), list[Said]()
        status = 499
        try:
            if reply.chat:
                yield event(reply.piece("", first=True))
            async for one in exchange.events():
                if isinstance(one, Exception):
                    status = 500
                    yield event(failed(str(one)).body)
                elif isinstance(one, End):
                    status = 200
                    if one.text or kept:
                        yield event(reply.piece(one.text, kept))
                    yield event(reply.piece("", finish=one.finish))
                    if with_usage:
                        yield event(reply.last(len(said)))
                    yield DONE
                else:
                    self._first(exchange, said)
                    said, kept = [*said, one], [*kept, one]
                    if one.text:
                        yield event(reply.piece(one.text, kept))
                        kept = []
        finally:
            exchange.cancel()
            self._written(len(said))
            self._count(endpoint, status, time.monotonic() - exchange.began)

    def _first(self, exchange: Exchange, said: list[Said]) -> None:
        if not said:
            self.holder.metrics.first.observe(time.monotonic() - exchange.began)

    def _written(self, tokens: int) -> None:
        self.holder.metrics.written.inc(tokens)

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._card()]})

    async def model(self, request: Request) -> Response:
        """Tell the model in use by its name, its name and version, or its alias."""
        wanted, engine = request.path_params["name"], self.holder.engine
        if wanted not in (engine.name, engine.title, f"{engine.name}@champion"):
            raise RequestError(
                f"the model '{wanted}' is not served here; '{engine.name}' is",
                status=404,
                code="model_not_found",
                param="model",
            )
        return JSONResponse(self._card())

    def _card(self) -> dict[str, Any]:
        engine = self.holder.engine
        return {
            "id": engine.name,
            "object": "model",
            "created": 0,
            "owned_by": "tuneline",
            "version": engine.version,
            "max_model_len": engine.model.context_length,
        }

    async def health(self, _: Request) -> Response:
        """Say whether the model's thread is there and takes requests."""
        engine = self.holder.engine
        told = {"status": "ok" if engine.alive else "failed", "model": engine.title}
        return JSONResponse(told, 200 if engine.alive else 503)

    async def metrics(self, _: Request) -> Response:
        return Response(self.holder.metrics.text(self.holder.engine), media_type=TEXT)


async def not_there(_: Request, error: Exception) -> Response:
    """Answer a path or a method that there is not."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    told = RequestError("there is no such endpoint", status=status, code="not_found")
    return JSONResponse(told.body, status)


async def _gone(request: Request) -> None:
    """Return once the client has left."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return
