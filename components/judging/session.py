"""One rater at work on a sheet: what comes next, what was said, what is taken back."""

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from components.contracts.errors import DataError
from components.judging.pairs import Pair
from components.judging.ratings import Rating, rated, standing
from components.judging.sheet import Sheet
from components.judging.table import CHOICES, choice_of


class OutOfStepError(DataError):
    """A choice for another pair than the one that is to be judged: a key pressed twice, or two
    pages open at once.
    """


@dataclass
class Session:
    """What the page may know and do. Nothing that it is told names a model."""

    sheet: Sheet
    rater: str
    _again: str | None = None
    _lock: Lock = field(default_factory=Lock)

    def state(self) -> dict[str, Any]:
        """Return how far the rater is, and the pair to judge (`None`: all are judged)."""
        mine = self._mine()
        pair = self._next(mine)
        return {
            "done": len(mine),
            "total": len(self.sheet.pairs),
            "pair": self._shown(pair) if pair else None,
        }

    def rate(self, key: str, choice: str) -> dict[str, Any]:
        """Take a choice ("1", "2", "0"), keep it, and return the state after it.

        Raises `OutOfStepError` unless the pair is the one to judge, `DataError` for another choice.
        """
        if choice not in CHOICES:
            raise DataError(f"choice is {choice!r}, but it should be 1, 2 or 0")
        with self._lock:
            pair = self._next(self._mine())
            if pair is None or pair.key != key:
                raise OutOfStepError(f"pair {key} is not the one to judge now")
            order = pair.order(self.sheet.seed, self.rater)
            said = rated(pair, self.rater, order, choice_of(order, int(choice)))
            self.sheet.add([said])
            self._again = None
            return self.state()

    def undo(self) -> dict[str, Any]:
        """Take back the last choice, show its pair again, and return the state."""
        with self._lock:
            mine = list(self._mine().values())
            if mine:
                last = mine[-1]
                pair = self.sheet.by_key[last.pair]
                self.sheet.add([rated(pair, self.rater, (last.first, last.second), None)])
                self._again = last.pair
            return self.state()

    def _mine(self) -> dict[str, Rating]:
        """Return this rater's standing ratings of the sheet's pairs, by pair, in order of time."""
        stand = standing(self.sheet.ratings())
        return {
            key: said
            for (key, rater), said in stand.items()
            if rater == self.rater and key in self.sheet.by_key
        }

    def _next(self, mine: dict[str, Rating]) -> Pair | None:
        if self._again is not None and self._again not in mine:
            return self.sheet.by_key[self._again]
        return next((pair for pair in self.sheet.pairs if pair.key not in mine), None)

    def _shown(self, pair: Pair) -> dict[str, Any]:
        first, second = pair.order(self.sheet.seed, self.rater)
        return {
            "key": pair.key,
            "prompt": list(pair.prompt),
            "answers": [pair.answers[first], pair.answers[second]],
        }
