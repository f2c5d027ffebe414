"""One check of the gate, in words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Whether a check was passed, and why. `task` and `guard` name what it is about, if one."""

    check: str
    passed: bool
    text: str
    task: str | None = None
    guard: str | None = None
