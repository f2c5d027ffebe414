"""Running checks with Great Expectations: in memory, with nothing sent and nothing stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.validation.expectations import Check

if TYPE_CHECKING:
    import pandas as pd

SEVERITIES = {"stop": "critical", "quarantine": "warning", "warn": "info"}
"""Our severities in Great Expectations' words."""

PLACE = ["source file", "source row", "row index"]
"""The columns that name a row in results; names that no source column is likely to have."""


@dataclass(frozen=True)
class Unmet:
    """A row that does not meet a check: its index in the frame and the value found."""

    index: int
    value: str


@dataclass(frozen=True)
class Finding:
    """A check and the rows that do not meet it."""

    check: Check
    success: bool
    unmet: tuple[Unmet, ...]


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

    def run(self, name: str, checks: Sequence[Check], frame: "pd.DataFrame") -> list[Finding]:
        """Check `frame` and return one finding a check; keep Great Expectations' own result."""
        import great_expectations as gx

        asset = self._source.add_dataframe_asset(name)
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        suite = gx.ExpectationSuite(name=name)
        for number, check in enumerate(checks):
            suite.add_expectation(_expectation(check, number))
        result_format: dict[str, Any] = {"result_format": "COMPLETE"}
        if set(PLACE) <= set(frame.columns):
            result_format["unexpected_index_column_names"] = PLACE
        result = batch.validate(suite, result_format=result_format)
        self.results.append(result)
        by_number = {_number(one): one for one in result.results}
        return [_finding(check, by_number[number]) for number, check in enumerate(checks)]


def _expectation(check: Check, number: int) -> Any:
    import great_expectations.expectations as gxe

    return getattr(gxe, check.kind)(
        **check.arguments,
        description=f"{check.says} — {check.name}, {check.severity}",
        severity=SEVERITIES[check.severity],
        meta={"check": check.name, "number": number},
    )


def _number(result: Any) -> int:
    return int(result.expectation_config.meta["number"])


def _finding(check: Check, result: Any) -> Finding:
    if not result.success and not result.result and check.kind != "ExpectColumnToExist":
        # An expectation that crashed must not pass for one that found something, or nothing.
        raise RuntimeError(f"{check.name} on {check.arguments} failed: {result.exception_info}")
    rows = result.result.get("unexpected_index_list") or []
    values = result.result.get("unexpected_list") or []
    unmet = tuple(Unmet(_index(row), _text(v)) for row, v in zip(rows, values, strict=True))
    return Finding(check, bool(result.success), unmet)


def _index(row: Any) -> int:
    return int(row[PLACE[-1]]) if isinstance(row, dict) else int(row)


def _text(value: Any) -> str:
    missing = value is None or value != value  # NaN is the only value unlike itself
    return "null" if missing else str(value)
