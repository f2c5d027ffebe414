"""What a page is made of: every artefact of one run, and what no artefact holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from components.contracts.artefacts import Artefact
from components.contracts.kinds import (
    Adapter,
    Dataset,
    Evaluation,
    Onnx,
    Raw,
    Tokens,
    Verdict,
    Verification,
)
from components.report.settings import ReportSettings
from components.scoring.items import Score
from components.scoring.requests import Answer, read_answers
from components.scoring.tables import read_scores

TORCH = ("base", "tuned")


@dataclass(frozen=True)
class Line:
    """Every artefact of one run."""

    raw: Raw
    dataset: Dataset
    tokens: Tokens
    adapter: Adapter
    evaluation: Evaluation
    onnx: Onnx
    verification: Verification
    verdict: Verdict

    @property
    def artefacts(self) -> dict[str, Artefact]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def ship(self) -> str:
        return str(self.verdict.facts["ship"])

    @property
    def exported(self) -> list[str]:
        """The exported files, the largest first."""
        found = self.verification.facts["variants"]
        return sorted(found, key=lambda name: -found[name]["bytes"])

    @property
    def models(self) -> list[str]:
        """Base, tuned, then every exported file."""
        return [*TORCH, *self.exported]

    def metrics(self, model: str) -> dict[str, Any]:
        if model in TORCH:
            return dict(self.evaluation.facts["models"][model])
        return dict(self.verification.facts["variants"][model]["metrics"])

    def slices(self, model: str) -> dict[str, Any] | None:
        """Return a model's figures by slice, where the recipe asked for them."""
        models = self.evaluation.facts.get("slices", {}).get("models", {})
        variants = self.verification.facts["variants"]
        found: dict[str, Any] | None = (
            models.get(model) if model in TORCH else variants[model].get("slices")
        )
        return found

    def scores(self, model: str) -> list[Score]:
        return read_scores(
            self.evaluation.scores(model) if model in TORCH else self.verification.scores(model)
        )

    def answers(self, model: str) -> dict[str, list[Answer]]:
        """Return a model's answers by task."""
        torch = model in TORCH or model == "base_fewshot"
        folder = self.evaluation.tasks if torch else self.verification.path / "tasks"
        names = self.evaluation.facts.get("tasks", {})
        files = {name: folder / name / f"{model}.parquet" for name in names}
        return {name: read_answers(file) for name, file in files.items() if file.is_file()}

    @cached_property
    def held_out(self) -> list[dict[str, Any]]:
        """Id, text, answer, choices and target of the rows of the split that was evaluated."""
        import pyarrow.parquet as pq

        split = self.evaluation.facts["items"]["split"]
        columns = ["id", "text", "answer", "choices", "target"]
        table = pq.read_table(self.dataset.split(split), columns=columns)
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows


@dataclass(frozen=True)
class Page:
    """What a section is built of. `speeds` by model belong to a machine: no artefact has them.

    `judged` is the folder of what people said of the answers, where they were asked.
    """

    line: Line
    settings: ReportSettings
    speeds: Mapping[str, Any] = field(default_factory=dict)
    judged: Path | None = None
