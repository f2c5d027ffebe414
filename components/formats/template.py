"""Templates of a prompt: names in braces, all filled in one pass, and the way back."""

import re
from collections.abc import Iterator, Mapping, Sequence


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return `template` with each `{name}` of `values` replaced; other braces stay as they are.

    One pass: braces inside a value are the row's own text and are never replaced.
    """
    return _names(values).sub(lambda found: values[found[1]], template)


def unfill(template: str, names: Sequence[str], text: str) -> Iterator[dict[str, str]]:
    """Yield every mapping of `names` to values with which `fill` gives `text`, in order."""
    pieces = _names(names).split(template)
    if text.startswith(pieces[0]):
        yield from _values(pieces[1:], text[len(pieces[0]) :], {})


def need(template: str, names: Sequence[str], key: str = "template") -> None:
    """Raise `ValueError` unless `template` has each of `names` in braces."""
    missing = [f"{{{name}}}" for name in names if f"{{{name}}}" not in template]
    if missing:
        raise ValueError(f"{key} must contain {' and '.join(missing)}")


def _names(names: Mapping[str, str] | Sequence[str]) -> re.Pattern[str]:
    return re.compile(r"\{(" + "|".join(map(re.escape, names)) + r")\}")


def _values(pieces: Sequence[str], rest: str, known: dict[str, str]) -> Iterator[dict[str, str]]:
    """Match name, literal, name, literal, … against `rest`."""
    if not pieces:
        if not rest:
            yield known
        return
    name, literal, *others = pieces
    for value in _before(rest, literal, last=not others):
        if known.get(name, value) == value:
            tail = rest[len(value) + len(literal) :]
            yield from _values(others, tail, {**known, name: value})


def _before(rest: str, literal: str, *, last: bool) -> Iterator[str]:
    """Yield what can stand before `literal` in `rest`."""
    if last:
        if rest.endswith(literal):
            yield rest[: len(rest) - len(literal)]
        return
    at = rest.find(literal)
    while at >= 0:
        yield rest[:at]
        at = rest.find(literal, at + 1)
