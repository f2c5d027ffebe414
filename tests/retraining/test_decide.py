"""Every branch of a tick's decision, as a table."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from components.retraining.decide import decide
from components.retraining.facts import (
    BudgetFacts,
    ChampionFacts,
    DataFacts,
    Facts,
    Half,
    Rescored,
    Tried,
)
from components.retraining.settings import RetrainSettings

YOUNG = ChampionFacts(version="3", age_days=5, adapter=True)
OLD = ChampionFacts(version="3", age_days=400, adapter=True)
FEW = DataFacts(rows=1000, new_rows=10, gone_rows=0, drift={"psi_length": 0.01}, label_shift=0.0)
MANY = FEW.model_copy(update={"new_rows": 300})
GONE = FEW.model_copy(update={"new_rows": 0, "gone_rows": 300})
SAME = FEW.model_copy(update={"new_rows": 0})
FAR = FEW.model_copy(update={"drift": {"psi_length": 0.9, "psi_label": 0.0}})
SHIFTED = FEW.model_copy(update={"label_shift": 0.3})
MANY_FAR = MANY.model_copy(update={"drift": {"psi_vocabulary": 0.9}})
UNKNOWN = DataFacts(rows=1000, new_rows=1000, gone_rows=0, known=False)
SPENT = BudgetFacts(used_hours=9.5, forecast_hours=1.0, accelerator=True)
LEFT = BudgetFacts(used_hours=8.5, forecast_hours=1.0)
KNOWN = Half(items=200, accuracy=0.9, accuracy_interval=(0.85, 0.93))
WORSE = Rescored(known=KNOWN, fresh=Half(items=90, accuracy=0.5, accuracy_interval=(0.4, 0.6)))
UNSURE = Rescored(known=KNOWN, fresh=Half(items=4, accuracy=0.5, accuracy_interval=(0.15, 0.9)))
TEXTS_WORSE = Rescored(
    known=Half(items=200, bits_per_byte=1.0), fresh=Half(items=90, bits_per_byte=1.2)
)
TEXTS_HOLD = Rescored(
    known=Half(items=200, bits_per_byte=1.0), fresh=Half(items=90, bits_per_byte=1.01)
)
NOTHING = Rescored(known=Half(items=200), fresh=Half(items=0))


@dataclass(frozen=True)
class Case:
    """What is known, set and wanted; `said` must stand in the reasons."""

    name: str
    action: str
    said: str
    start: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


BOUND: dict[str, Any] = {"max_hours_per_month": 10}
ON: dict[str, Any] = {"start": "champion"}
CASES = [
    Case("unchanged", "skip", "the champion (version 3) saw", facts={"changed": False}),
    Case(
        "unchanged and old",
        "skip",
        "400 days old, but has no row left",
        facts={"changed": False, "champion": OLD},
    ),
    Case("not fit", "skip", "a label is missing", facts={"fault": "a label is missing"}),
    Case(
        "judged already",
        "skip",
        "version 4 was made of these very rows already (verdict: keep)",
        facts={"data": MANY, "tried": Tried(version="4", verdict="keep")},
    ),
    Case("failed often", "skip", "3 attempts", facts={"data": MANY, "failures": 3}),
    Case("failed twice", "fine-tune", "300 new", "fresh", {"data": MANY, "failures": 2}),
    Case("first", "fine-tune", "no champion yet", "fresh", {"champion": None}),
    Case(
        "first, without budget",
        "skip",
        "no budget: 9.50 hours on the accelerator this month",
        facts={"champion": None, "budget": SPENT},
        settings=BOUND,
    ),
    Case("few rows", "skip", "10 new rows came, 1.0% of 1,000", facts={"data": FEW}),
    Case("many rows", "fine-tune", "300 new rows came, 30.0% of", "fresh", {"data": MANY}),
    Case(
        "many rows, small share",
        "skip",
        "fewer than 100, or than 40% of all",
        facts={"data": MANY},
        settings={"min_new_share": 0.4},
    ),
    Case("rows taken away", "fine-tune", "and 300 went", "fresh", {"data": GONE}),
    Case("old, a new row", "fine-tune", "is 400 days", "fresh", {"champion": OLD, "data": FEW}),
    Case("old, no new row", "skip", "0 new rows", facts={"champion": OLD, "data": SAME}),
    Case("champion's rows lost", "fine-tune", "all count as new", "fresh", {"data": UNKNOWN}),
    Case("drift", "evaluate only", "psi_length 0.9 (max_drift 0.2)", facts={"data": FAR}),
    Case("labels shift", "evaluate only", "by 30.0 points", facts={"data": SHIFTED}),
    Case("drift, worse", "fine-tune", "2 points", "fresh", {"data": FAR, "rescored": WORSE}),
    Case("drift, holds", "skip", ": it holds", facts={"data": FAR, "rescored": UNSURE}),
    Case("nothing fresh", "skip", "no figure (0 rows)", facts={"data": FAR, "rescored": NOTHING}),
    Case(
        "texts, worse", "fine-tune", "1.2000 bits", "fresh", {"data": FAR, "rescored": TEXTS_WORSE}
    ),
    Case("texts, hold", "skip", ": it holds", facts={"data": FAR, "rescored": TEXTS_HOLD}),
    Case("many, drifted", "fine-tune", "psi_vocabulary", "fresh", {"data": MANY_FAR}),
    Case(
        "within budget",
        "fine-tune",
        "300 new",
        "fresh",
        {"data": MANY, "budget": LEFT},
        BOUND,
    ),
    Case(
        "over budget",
        "evaluate only",
        "takes about 1.00 (max_hours_per_month 10)",
        facts={"data": MANY, "budget": SPENT},
        settings=BOUND,
    ),
    Case(
        "over budget, scored",
        "skip",
        "no budget",
        facts={"data": MANY, "budget": SPENT, "rescored": UNSURE},
        settings=BOUND,
    ),
    Case("no bound", "fine-tune", "300 new", "fresh", {"data": MANY, "budget": SPENT}),
    Case("go on", "fine-tune", "adapter of version 3", "champion", {"data": MANY}, ON),
    Case("drifted: fresh", "fine-tune", "another kind", "fresh", {"data": MANY_FAR}, ON),
    Case(
        "no adapter: fresh",
        "fine-tune",
        "is not to be had",
        "fresh",
        {"data": MANY, "champion": YOUNG.model_copy(update={"adapter": False})},
        ON,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decision(case: Case) -> None:
    facts = Facts(**{"champion": YOUNG, "changed": True, **case.facts})
    decision = decide(facts, RetrainSettings(**case.settings))

    assert decision.action == case.action, decision.reasons
    assert decision.start == case.start
    assert case.said in "; ".join(decision.reasons)


def test_changed_rows_must_be_compared_first() -> None:
    with pytest.raises(ValueError, match="compared before"):
        decide(Facts(champion=YOUNG, changed=True), RetrainSettings())


def test_facts_come_back_from_json() -> None:
    facts = Facts(champion=YOUNG, changed=True, data=FAR, rescored=WORSE, budget=LEFT)
    assert Facts.model_validate_json(facts.model_dump_json()) == facts


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        ("bucket/rows", "must be a URL"),
        ("s3://me:word@bucket/rows/", "by the environment"),
        ("https://host/rows/?token=1", "by the environment"),
    ],
)
def test_a_place_to_watch_is_a_url_without_secrets(watch: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RetrainSettings(watch=watch)
    assert RetrainSettings(watch="s3://bucket/rows/").watch
