"""The end of a process that has done its work."""

import atexit
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn


def leave_after(main: Callable[[], int]) -> NoReturn:
    """Call `main` and exit with what it returns, after 0 without taking every module apart.

    With torch or great_expectations loaded that takes a second, with Prefect and MLflow two, and
    nothing waits for it but the next stage or the user. Threads are waited for, exit handlers run
    and output is flushed as ever.
    """
    codes: list[int] = []
    atexit.register(_leave, codes)  # first of all, so it is called last of all
    codes.append(main())
    sys.exit(codes[0])


def _leave(codes: list[int]) -> None:
    if codes == [0]:
        logging.shutdown()  # asked for when logging was imported: later than this, so never
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
