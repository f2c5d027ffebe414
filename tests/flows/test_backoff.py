"""What is tried again, and when."""

import errno

import pytest

from components.contracts.errors import DataError, RecipeError, SpaceError, UnreachableError
from flows.backoff import LONGEST_S, delays, worth_retrying


@pytest.mark.parametrize(
    ("error", "worth"),
    [
        (UnreachableError("no answer"), True),
        (ConnectionResetError(), True),
        (DataError("bad rows"), False),
        (RecipeError("bad key"), False),
        (SpaceError("full"), False),
        (OSError(errno.ENOSPC, "no space left on device"), False),
        (OSError(errno.EIO, "input/output error"), True),
        (ModuleNotFoundError("no module"), False),
    ],
)
def test_by_the_kind_of_the_error(error: BaseException, worth: bool) -> None:
    assert worth_retrying(error) is worth


def test_a_full_disk_behind_another_error_is_found() -> None:
    error = RuntimeError("the writer gave up")
    error.__cause__ = OSError(errno.ENOSPC, "no space left on device")
    assert not worth_retrying(error)


def test_each_wait_is_twice_the_one_before() -> None:
    assert delays(10, 4) == [10, 20, 40, 80]
    assert delays(0, 2) == [0, 0]
    assert delays(10, 0) == []
    assert max(delays(60, 12)) == LONGEST_S
