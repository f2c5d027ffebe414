"""`tuneline serve`: a registered model behind OpenAI's HTTP interface."""

import logging
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from components.contracts.errors import ModelError
from flows.environment import api_key
from flows.talk import DeviceOption, Model, Threads, project

if TYPE_CHECKING:
    from components.serving.holder import Loaded

LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Registry:
    """Serves what a reference names now: an alias that moves changes the model."""

    root: Path | None
    text: str
    device: Literal["cpu", "cuda"] | None
    threads: int

    def current(self) -> str:
        from flows.model_ref import parse_reference

        reference = parse_reference(self.text)
        if isinstance(reference, Path):
            return ""
        if self.root is None:
            raise ModelError(
                f"there is no project here whose registry could hold '{reference}'",
                fix="change into the project's folder, or name a folder of files",
            )
        from flows.fetch_model import current_version

        return current_version(reference)

    def load(self, version: str) -> "Loaded":
        from components.runtime.served import open_text
        from components.serving.holder import Loaded
        from flows.model_ref import Reference, find_model, parse_reference

        reference = parse_reference(self.text)
        exact = f"{reference.name}/{version}" if isinstance(reference, Reference) else self.text
        found = find_model(self.root, exact, device=self.device)
        model = open_text(found.folder, threads=self.threads, device=found.device)
        name = found.name if found.version else Path(found.name).resolve().name
        return Loaded(model, found.shape, name, found.version)


def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="A file with one key a line; else TUNELINE_API_KEY, if it is set."),
    ] = None,
    max_concurrency: Annotated[int, typer.Option(help="Requests answered at once.")] = 16,
    max_queue: Annotated[int, typer.Option(help="Requests that may wait beside them.")] = 64,
    max_prompt_tokens: Annotated[int | None, typer.Option(help="Longest prompt.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer.")] = 1024,
    poll: Annotated[
        float, typer.Option(min=0.1, help="Seconds between looks at the registry.")
    ] = 5.0,
    drain: Annotated[
        int, typer.Option(min=1, help="Seconds that requests may take to end after SIGTERM.")
    ] = 30,
    device: DeviceOption = None,
    threads: Threads = 0,
) -> None:
    """Serve MODEL at /v1/chat/completions and /v1/completions until SIGTERM or Ctrl-C.

    When the alias moves to another version, that one answers all new requests.
    """
    import uvicorn

    from components.serving.app import Server
    from components.serving.holder import Holder
    from components.serving.limits import Limits
    from components.serving.metrics import Metrics

    keys = read_keys(api_key_file)
    if host not in LOCAL and not keys:
        raise ModelError(
            f"a server on {host} can be reached by others, but no API key is set",
            fix="set TUNELINE_API_KEY or --api-key-file, or listen on 127.0.0.1",
        )
    root = project()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("tuneline.serve").setLevel(logging.INFO)
    limits = Limits(
        max_concurrency=max_concurrency,
        max_queue=max_queue,
        max_prompt_tokens=max_prompt_tokens,
        max_new_tokens=max_new_tokens,
    )
    source = Registry(root, model, device, threads)
    holder = Holder(source, limits, Metrics())
    tell(holder.engine.title, holder.engine.model.device, together=holder.engine.together)
    app = Server(holder, keys, poll).app()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="info",
        access_log=False,
        timeout_graceful_shutdown=drain,
    )
    # uvicorn ends by sending itself the signal that stopped it: a stop by SIGTERM is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.Server(config).run()


def read_keys(file: Path | None) -> tuple[str, ...]:
    """Return the keys of a file, or the environment's; raise `ModelError` for a file without any.

    The keys are shown nowhere.
    """
    if file is None:
        key = api_key()
        return (key,) if key else ()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise ModelError(f"{file} holds no key", fix="write one key a line")
    return keys


def tell(title: str, device: str, *, together: bool) -> None:
    """Say what is served where and how."""
    how = "together" if together else "one after the other (this graph cannot do better)"
    print(f"serving {title} on {device}; requests at the same time are decoded {how}", flush=True)
