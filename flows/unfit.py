"""Whether a validation said that rows are not fit, or something else went wrong."""

from pathlib import Path

from components.contracts.errors import TunelineError
from flows.data_add import STAGES
from flows.record import read_record


def unfit(root: Path, recipe: str, error: TunelineError) -> bool:
    """Say whether `error` is what `ingest` or `validate` itself had against the rows, for good.

    A line that was cut off, a stage that another process holds or a killed child says nothing of
    the rows: the same call may succeed later.
    """
    record = read_record(root, recipe)
    faults = [record.faults[name] for name in STAGES if name in record.faults] if record else []
    return any(not fault.retry and fault.message in str(error) for fault in faults)
