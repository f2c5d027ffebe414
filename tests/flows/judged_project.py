"""A toy project whose recipe has answers to judge, and an MLflow run that made them."""

from pathlib import Path

from made_sheet import made_line
from toy_project import Toy

from components.contracts.kinds import Verdict
from flows.record import StageRecord, manifest_key, open_record


def make_judged(toy: Toy) -> str:
    """Write answers of base and int8 into the toy project; return the run that made them."""
    from flows.tracking import run_of_dvc

    folder = toy.root / "data" / "toy"
    made_line(folder)
    with Verdict.write(folder / "verdict") as draft:
        draft.facts = {"promote": True, "ship": "int8", "reasons": []}
    run = run_of_dvc(toy.root, "toy")
    with open_record(toy.root, "toy", "dvc") as record:
        for stage, noun in (("evaluate", "evaluation"), ("verify", "verification")):
            key = manifest_key(folder / noun)
            record.add_stage(stage, StageRecord(outcome="ran", manifest_sha256=key))
    return run


def sheet_of(toy: Toy) -> Path:
    return toy.root / "data" / "judged" / "toy" / "base-vs-int8"
