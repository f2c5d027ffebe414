"""What every flow run waits for before its first stage, waited for together."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from prefect.settings import get_current_settings

from flows.early_server import Begun


def get_ready(begun: Begun | None = None) -> None:
    """Wait for Prefect's temporary server, where none runs, while MLflow is imported and opened.

    Each takes several seconds where its database is new. Without a temporary server nothing is
    done: there is nothing to wait for meanwhile. `begun` is a server that is starting already.

    Raises:
        RuntimeError: the server did not start.
    """
    settings = get_current_settings()
    if settings.api.url or not settings.server.ephemeral.enabled:
        return
    # Imported before there are two threads: modules that import each other may not be loaded twice
    # at once.
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer()
    if begun:
        hand_over(begun, server)
    with ThreadPoolExecutor(1, thread_name_prefix="prefect-server") as beside:
        started = beside.submit(server.start)
        open_store()
        started.result()


def hand_over(begun: Begun, server: Any) -> None:
    """Let Prefect's `SubprocessASGIServer` take a process that is starting for its first one.

    It starts another itself where that one ends because its port was taken meanwhile.
    """
    start_another, first = server._run_uvicorn_command, iter([begun.process])
    server.port = begun.port
    server._run_uvicorn_command = lambda: next(first, None) or start_another()


def open_store() -> None:
    """Import MLflow and bring the tables of a local store up to date.

    And import what keeping the report's figures takes: nothing else waits for it now.
    """
    import matplotlib.figure  # noqa: F401

    from flows.store import client
    from flows.tracking import FAULTS

    if os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:"):
        with suppress(*FAULTS):  # opening the run meets it again, and knows whether to wait
            client()
