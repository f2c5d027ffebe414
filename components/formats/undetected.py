"""What is said when the columns do not tell the kind of rows."""

from collections.abc import Sequence
from difflib import get_close_matches

from components.contracts.errors import DataError
from components.formats.rules import RULES, Column, Found, Rule

NO_KIND = RULES[-1]
"""The kind that is shown as an example when no column of any kind is there."""


def ambiguous(columns: Sequence[str], fits: Sequence[tuple[Rule, Found]]) -> DataError:
    """Return the error for columns that several kinds fit."""
    ways = [f"{rule.kind} ({_shown(found)})" for rule, found in fits]
    rule, found = fits[0]
    return DataError(
        f"the columns fit more than one kind of rows: {' or '.join(ways)}\n"
        f"  columns: {', '.join(columns)}",
        fix=f"name the kind in the recipe, for example: format: {{kind: {rule.kind}, "
        f"{_shown(found)}}}",
    )


def unknown(columns: Sequence[str]) -> DataError:
    """Return the error for columns that no kind fits, with the nearest kind."""
    rule = max(RULES, key=lambda rule: _nearness(rule, columns))
    near = bool(columns) and _nearness(rule, columns) > 0
    lines = [f"no kind of rows fits the columns: {', '.join(columns)}", "  each kind needs:"]
    lines += [f"    {rule.kind}: {_needs(rule)}" for rule in RULES]
    if near:
        faults = [_fault(setting, column, columns) for setting, column in rule.needs.items()]
        lines.append(f"  nearest is {rule.kind}: {'; '.join(f for f in faults if f)}")
    return DataError(
        "\n".join(lines),
        fix="name the kind and its columns in the recipe, for example: format: "
        f"{_example(rule if near else NO_KIND, columns)}",
    )


def _nearness(rule: Rule, columns: Sequence[str]) -> float:
    """Return the share of a rule's columns that are there, half for one with a similar name."""
    points = [
        1.0 if _there(column, columns) else 0.5 if _similar(column, columns) else 0.0
        for column in rule.needs.values()
    ]
    return sum(points) / len(points)


def _fault(setting: str, column: Column, columns: Sequence[str]) -> str:
    there, similar = _there(column, columns), _similar(column, columns)
    if there:
        return f"column '{there[0]}' (it must hold: {column.says})"
    if similar:
        return f"did you mean '{similar[0]}' for its {setting}?"
    return f"no column for its {setting}"


def _there(column: Column, columns: Sequence[str]) -> list[str]:
    return [name for name in column.names if name in columns]


def _similar(column: Column, columns: Sequence[str]) -> list[str]:
    return [near for name in column.names for near in get_close_matches(name, columns, n=1)]


def _needs(rule: Rule) -> str:
    needed = [f"{'/'.join(c.names)} ({c.says})" for c in rule.needs.values()]
    taken = ["/".join(column.names) for column in rule.takes.values()]
    return ", ".join(needed) + (f"; may use {', '.join(taken)}" if taken else "")


def _shown(found: Found) -> str:
    return ", ".join(f"{setting}: {column}" for setting, column in found.items())


def _example(rule: Rule, columns: Sequence[str]) -> str:
    places = []
    for setting, column in rule.needs.items():
        name = [*_there(column, columns), *_similar(column, columns), "COLUMN"][0]
        label = f"{{column: {name}, names: [FIRST, SECOND]}}"
        places.append(f"{setting}: {label if setting == 'label' else name}")
    return f"{{kind: {rule.kind}, {', '.join(places)}}}"
