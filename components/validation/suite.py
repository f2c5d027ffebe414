"""Running checks with Great Expectations: in memory, with nothing sent and nothing stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from components.validation.checks import Check
from components.validation.faults import Faults
from components.validation.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

SEVERITIES = {"stop": "critical", "quarantine": "warning", "warn": "info"}
"""Our severities in Great Expectations' words."""

PLACE = ["source file", "source row"]
"""The columns that name a row in Data Docs."""

SHOWN = 20
"""How many failing rows Data Docs show for each expectation."""


@dataclass(frozen=True)
class Finding:
    """A check, whether it is met, the rows that do not meet it, and for a figure its value."""

    check: Check
    success: bool
    faults: Faults = field(default_factory=Faults.none)
    figure: float | None = None

    @property
    def unmet(self) -> int:
        return len(self.faults) if self.figure is None else int(not self.success)


class Suites:
    """Runs suites in one ephemeral Great Expectations context."""

    def __init__(self) -> None:
        import great_expectations as gx
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )

        config = DataContextConfig(
            # The default would leave a temporary folder for Data Docs behind.
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
        )
        self._context = gx.get_context(mode="ephemeral", project_config=config)
        self._source = self._context.data_sources.add_pandas("rows")
        self.results: list[Any] = []

    def columns(self, checks: Sequence[Check], names: Sequence[str]) -> list[Finding]:
        """Check which columns there are."""
        import pandas as pd

        results = self._validate("columns", checks, pd.DataFrame(columns=list(names)))
        return [Finding(c, bool(r.success)) for c, r in zip(checks, results, strict=True)]

    def rows(
        self,
        name: str,
        checks: Sequence[Check],
        faults: Mapping[str, Faults],
        rows: Rows,
        among: Any,
    ) -> list[Finding]:
        """Check the rows `among` (rising row numbers): a column of faults must be null in all."""
        import pandas as pd

        table = {
            PLACE[0]: rows.strings("source", among).dictionary_encode().to_pandas(),
            PLACE[1]: rows.numbers("row", among),
        }
        sparse = [faults.get(check.column, Faults.none()) for check in checks]
        for check, found in zip(checks, sparse, strict=True):
            column = np.full(len(among), None, dtype=object)
            # Great Expectations puts values into its pages as they are.
            column[np.searchsorted(among, found.index)] = [escape(value) for value in found.values]
            table[check.column] = column
        results = self._validate(name, checks, pd.DataFrame(table))
        return [_finding(*one) for one in zip(checks, results, sparse, strict=True)]

    def figures(
        self, name: str, checks: Sequence[Check], figures: Mapping[str, float]
    ) -> list[Finding]:
        """Check figures of the whole data set, each in a column of its own."""
        import pandas as pd

        results = self._validate(name, checks, pd.DataFrame([dict(figures)]))
        return [
            Finding(check, bool(result.success), figure=float(figures[check.column]))
            for check, result in zip(checks, results, strict=True)
        ]

    def _validate(self, name: str, checks: Sequence[Check], frame: "pd.DataFrame") -> list[Any]:
        """Return Great Expectations' results in the order of `checks`, and keep them for docs."""
        import great_expectations as gx

        asset = self._source.add_dataframe_asset(name)
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        suite = gx.ExpectationSuite(name=name)
        for number, check in enumerate(checks):
            suite.add_expectation(_expectation(check, number))
        shown: dict[str, Any] = {"result_format": "SUMMARY", "partial_unexpected_count": SHOWN}
        if set(PLACE) <= set(frame.columns):
            shown["unexpected_index_column_names"] = PLACE
        result = batch.validate(suite, result_format=shown)
        self.results.append(result)
        by_number = {_number(one): one for one in result.results}
        ordered = [by_number[number] for number in range(len(checks))]
        for check, one in zip(checks, ordered, strict=True):
            _need_result(check, one)
        return ordered


def _expectation(check: Check, number: int) -> Any:
    from components.validation.custom import CLASSES

    return CLASSES[check.name](
        column=check.column,
        **check.arguments,
        description=f"{check.says} — {check.name}, {check.severity}",
        severity=SEVERITIES[check.severity],
        meta={"check": check.name, "number": number},
    )


def _number(result: Any) -> int:
    return int(result.expectation_config.meta["number"])


def _need_result(check: Check, result: Any) -> None:
    """An expectation that crashed must not pass for one that found something, or nothing."""
    if not result.success and not result.result and check.name != "columns":
        raise RuntimeError(f"{check.name} on {check.column} failed: {result.exception_info}")


def _finding(check: Check, result: Any, faults: Faults) -> Finding:
    if result.result["unexpected_count"] != len(faults):
        raise AssertionError(f"Great Expectations counts other faults of {check.name} than we do")
    return Finding(check, bool(result.success), faults)
