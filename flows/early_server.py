"""Prefect's temporary server, begun before this process has even imported Prefect.

Its start is the longest wait of a first run (an import and the tables of a new database), so it
runs beside all else that has to be imported and opened. `flows.ready` hands it to Prefect, which
waits for it and ends it as one of its own.
"""

import atexit
import os
import subprocess
import sys
from dataclasses import dataclass

from flows.ui import HOST, free_port
from flows.watched import die_with_parent

OWN = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
"""What Prefect tells a temporary server of its own by the environment."""


@dataclass(frozen=True)
class Begun:
    """A server that is starting on this machine."""

    port: int
    process: "subprocess.Popen[bytes]"


def begin_server() -> Begun | None:
    """Start a temporary server; None where the environment names one that runs.

    The process ends by itself where Prefect's settings name one, and with this process.
    """
    if os.environ.get("PREFECT_API_URL"):
        return None
    port = free_port(0)
    words = [sys.executable, "-m", "flows.early_server", str(port)]
    # Told to the kernel before the program starts: this process may be gone by then.
    env = {**os.environ, **OWN}
    process = subprocess.Popen(words, env=env, preexec_fn=die_with_parent)
    atexit.register(process.terminate)  # where it is never handed over; else it has ended by then
    return Begun(port, process)


def main(port: int) -> None:
    """Serve on `port`; do nothing where no temporary server is wanted."""
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    if settings.api.url or not settings.server.ephemeral.enabled:
        return
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host=HOST,
        port=port,
        log_level="error",
        lifespan="on",
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
