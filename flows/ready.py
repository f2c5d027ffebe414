"""What every flow run waits for before its first stage, waited for together."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from prefect.settings import get_current_settings


def get_ready() -> None:
    """Start Prefect's temporary server, where none runs, while MLflow is imported and opened.

    Each takes several seconds where its database is new. Without a temporary server nothing is
    done: there is nothing to wait for meanwhile.

    Raises:
        RuntimeError: the server did not start.
    """
    settings = get_current_settings()
    if settings.api.url or not settings.server.ephemeral.enabled:
        return
    # Imported before there are two threads: modules that import each other may not be loaded twice
    # at once.
    from prefect.server.api.server import SubprocessASGIServer

    with ThreadPoolExecutor(1, thread_name_prefix="prefect-server") as beside:
        server = beside.submit(SubprocessASGIServer().start)
        open_store()
        server.result()


def open_store() -> None:
    """Import MLflow and bring the tables of a local store up to date."""
    from flows.store import client
    from flows.tracking import FAULTS

    if os.environ["MLFLOW_TRACKING_URI"].startswith("sqlite:"):
        with suppress(*FAULTS):  # opening the run meets it again, and knows whether to wait
            client()
