"""When a stage is tried again, and how long after: by the kind of its error.

| error | tried again |
|---|---|
| network, a server that does not answer (`UnreachableError`, connection faults of a source) | yes |
| what nobody foresaw: a device fault, a killed process | yes |
| data, recipe, model, artefact, registry (`TunelineError`) | no: it would fail alike |
| no room on the disk | no: it needs a person, or `tuneline gc` |
| code that cannot be imported | no |
| longer than the stage's `timeout_s` | no |
"""

import errno
import socket
from collections.abc import Iterable

from components.contracts.errors import SourceError, TunelineError, UnreachableError

TROUBLE = (ConnectionError, TimeoutError, socket.gaierror)
"""Causes of a `SourceError` that may be gone at the next try."""

LONGEST_S = 1800.0
JITTER = 0.5
"""Prefect spreads each delay around its value, so that lines do not come back all at once."""


def worth_retrying(error: BaseException) -> bool:
    """Return whether the same call may succeed later."""
    if isinstance(error, TunelineError):
        broken = any(isinstance(cause, TROUBLE) for cause in causes(error))
        return isinstance(error, UnreachableError) or (isinstance(error, SourceError) and broken)
    if isinstance(error, ImportError | SyntaxError):
        return False
    full = any(isinstance(c, OSError) and c.errno in FULL for c in causes(error))
    return isinstance(error, Exception) and not full


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def causes(error: BaseException | None) -> Iterable[BaseException]:
    """Yield an error and what is behind it."""
    while error is not None:
        yield error
        reason = getattr(error, "reason", None)  # urllib wraps the fault in URLError.reason
        if isinstance(reason, BaseException):
            yield reason
        error = error.__cause__ or error.__context__


def delays(first_s: float, retries: int) -> list[float]:
    """Return how long to wait before each further try: twice as long each time, up to a bound."""
    return [min(first_s * 2**number, LONGEST_S) for number in range(retries)]
