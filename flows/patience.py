"""Waiting for a server that does not answer: its answer is needed, and hours of work are done."""

import time
from collections.abc import Callable
from typing import TypeVar

from httpx import HTTPError, HTTPStatusError
from mlflow.exceptions import MlflowException

from flows.progress import MARK

T = TypeVar("T")

LIMIT_S = 600.0
FIRST_S, LONGEST_S = 1.0, 30.0
PASSING = ("TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED")
NO_ANSWER = ("API request to", "OperationalError", "InterfaceError")
"""How MLflow tells, under the code of an inner fault, of a server or database that is away."""


def passes(error: BaseException) -> bool:
    """Say whether a fault of MLflow or Prefect may be gone at the next try: nobody answers.

    What it refuses (no such run, a wrong name) stays refused.
    """
    if isinstance(error, MlflowException):
        inner = error.error_code == "INTERNAL_ERROR"
        away = any(word in str(error.message) for word in NO_ANSWER)
        return error.error_code in PASSING or (inner and away)
    if isinstance(error, HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, ConnectionError | TimeoutError | HTTPError)


def patiently(
    call: Callable[[], T],
    tell: Callable[[str], None],
    limit_s: float = LIMIT_S,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return what `call` returns, tried again with growing pauses while a server is away.

    `limit_s` bounds the sum of the pauses. `call` must not mind to be called twice.
    """
    pause, waited = FIRST_S, 0.0
    while True:
        try:
            return call()
        except (MlflowException, HTTPError, OSError) as error:
            if not passes(error) or waited + pause > limit_s:
                raise
            first = (str(error) or type(error).__name__).splitlines()[0][:160]
            tell(f"{MARK}no answer, next try in {pause:.0f} s: {first}")
        sleep(pause)
        waited += pause
        pause = min(2 * pause, LONGEST_S)
