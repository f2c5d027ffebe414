"""Names of columns: each one once, none empty."""

from collections.abc import Sequence

from components.contracts.errors import DataError


def need_distinct(names: Sequence[str], place: str, fix: str) -> None:
    """Raise `DataError` at `place` if a column has no name or one that stands twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not all(names):
        fault = f"column '{twice[0]}' appears twice" if twice else "a column has no name"
        raise DataError(f"{place}: {fault} ({', '.join(names)})", fix=fix)
