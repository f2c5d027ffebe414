"""What a check found with other packages, held against what it finds with the locked ones."""

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["same", "differs", "broke", "not reached"]

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05}
"""How far a loss may be off, in nats: those of tests/golden, where the reasons stand."""


@dataclass(frozen=True)
class Probed:
    """What one check left: its figures, or why it has none. `fault` names the kind of error."""

    figures: dict[str, Any] | None
    fault: str = ""
    said: str = ""

    @property
    def ok(self) -> bool:
        return self.figures is not None


@dataclass(frozen=True)
class Compared:
    """A check with other packages against the locked ones, in one word and in a sentence."""

    check: str
    state: State
    said: str
    fault: str = ""

    @property
    def sound(self) -> bool:
        return self.state == "same"


def compare(check: str, locked: Probed, other: Probed | None) -> Compared:
    """Compare one check; `None` says that an earlier one broke, so that this was not reached."""
    if other is None:
        return Compared(check, "not reached", "an earlier check broke")
    if other.figures is None or locked.figures is None:
        return Compared(check, "broke", other.said, other.fault)
    state, said = COMPARISONS[check](locked.figures, other.figures)
    return Compared(check, state, said)


def _golden(locked: dict[str, Any], other: dict[str, Any]) -> tuple[State, str]:
    if other["dtype"] != locked["dtype"]:
        return "differs", f"trained in {other['dtype']} instead of {locked['dtype']}"
    ours, theirs = locked["losses"], other["losses"]
    if len(ours) != len(theirs):
        return "differs", f"{len(theirs)} steps instead of {len(ours)}"
    far = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    limit = TOLERANCE.get(locked["dtype"], TOLERANCE["float32"])
    said = f"losses of {len(ours)} steps are {max(far):.1e} nats apart at most (limit {limit:.0e})"
    if max(far) <= limit:
        return "same", said
    first = next(n for n, one in enumerate(far, start=1) if one > limit)
    return "differs", f"{said}, first beyond it at step {first}"


def _parity(locked: dict[str, Any], other: dict[str, Any]) -> tuple[State, str]:
    far, before = other["max_logit_difference"], locked["max_logit_difference"]
    said = (
        f"ONNX Runtime is {far:.1e} from torch (locked: {before:.1e}, limit {other['limit']:.0e})"
    )
    if locked["passed"] and not other["passed"]:
        return "differs", said
    return "same", said


def _roundtrip(locked: dict[str, Any], other: dict[str, Any]) -> tuple[State, str]:
    """Count what the check itself has held against the exported file."""
    del locked
    return "same", f"{len(other['answers'])} answers after loading are those of the exported file"


COMPARISONS = {"golden": _golden, "parity": _parity, "roundtrip": _roundtrip}


def echoes(seen: Compared, found: Compared) -> bool | None:
    """Say whether a mix of packages shows what the newest showed; `None` if it shows another thing.

    A mix may break in ways of its own (one package without the other that it needs): that tells
    nothing of what is looked for.
    """
    if found.sound:
        return False
    return True if (found.state, found.fault) == (seen.state, seen.fault) else None
