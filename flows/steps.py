"""Stage name → what it reads, what it writes and the function that does it. Nothing more."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from components.contracts import kinds
from components.contracts.artefacts import Artefact


@dataclass(frozen=True)
class Step:
    """A stage: `function` ("module:name") is called as f(*inputs, *sections, out=…, context=…).

    `inputs` and `output` are folder names below `data/RECIPE/`; `sections` are the recipe's. Each
    of `folders` is a plain folder `data/NAME/RECIPE/`, passed on as the keyword NAME. `beside` are
    more artefacts, passed on as keywords: what a step can do without. One that `spreads` takes the
    keyword `spread`: what works on batches elsewhere.
    """

    function: str
    inputs: Mapping[str, type[Artefact]]
    sections: tuple[str, ...]
    output: str
    folders: tuple[str, ...] = ()
    beside: Mapping[str, type[Artefact]] = field(default_factory=dict)
    spreads: bool = False

    @property
    def module(self) -> str:
        return self.function.partition(":")[0]

    def load(self) -> Callable[..., Artefact]:
        module, _, name = self.function.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


Inputs = dict[str, type[Artefact]]

BASE: Inputs = {"base": kinds.BaseModelFolder}
DATASET: Inputs = {"dataset": kinds.Dataset}
TOKENS: Inputs = {"tokens": kinds.Tokens}
ADAPTER: Inputs = {"adapter": kinds.Adapter}
EVALUATION: Inputs = {"evaluation": kinds.Evaluation}
ONNX: Inputs = {"onnx": kinds.Onnx}
CHAMPION: Inputs = {"champion": kinds.Champion}
VERIFICATION: Inputs = {"verification": kinds.Verification}

LAST = "registration"
"""The artefact that ends the line."""

STEPS: dict[str, Step] = {
    "ingest": Step("components.sources.ingest:ingest", {}, ("source",), "raw"),
    "fetch": Step("components.sources.fetch:fetch", {}, ("model",), "base"),
    "validate": Step(
        "components.validation.validate:validate",
        {"raw": kinds.Raw},
        ("format", "validation"),
        "dataset",
        folders=("accepted",),
    ),
    "tokenize": Step(
        "components.tokenization.tokenize:tokenize",
        BASE | DATASET,
        ("tokenization",),
        "tokens",
        spreads=True,
    ),
    "train": Step("components.training.train:train", BASE | TOKENS, ("training",), "adapter"),
    "evaluate": Step(
        "components.evaluation.evaluate:evaluate",
        BASE | DATASET | TOKENS | ADAPTER,
        ("evaluation",),
        "evaluation",
        beside={"raw": kinds.Raw},
    ),
    "export": Step(
        "components.export.export:export", BASE | ADAPTER, ("export",), "onnx", beside=TOKENS
    ),
    "champion": Step("flows.champion:champion", ONNX, ("registry",), "champion"),
    "verify": Step(
        "components.verification.verify:verify",
        BASE | TOKENS | ADAPTER | EVALUATION | ONNX,
        ("verification",),
        "verification",
        beside=CHAMPION,
    ),
    "gate": Step("components.gate.gate:gate", EVALUATION | VERIFICATION, ("gate",), "verdict"),
    "report": Step(
        "components.report.report:report",
        {"raw": kinds.Raw}
        | DATASET
        | TOKENS
        | ADAPTER
        | EVALUATION
        | ONNX
        | VERIFICATION
        | {"verdict": kinds.Verdict},
        ("report",),
        "report",
        folders=("judged",),
    ),
    "register": Step(
        "flows.register:register",
        DATASET | ONNX | VERIFICATION | {"verdict": kinds.Verdict, "report": kinds.Report},
        ("registry",),
        "registration",
    ),
}
