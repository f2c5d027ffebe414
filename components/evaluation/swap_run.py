"""The identity-swap test, put to base and tuned, and what came of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.contracts.events import Events
from components.scoring.bias import FOLDER, REQUESTS, answer_swaps, measure_bias
from components.scoring.lm import CausalLM
from components.scoring.requests import Request, write_requests


@dataclass
class SwapRun:
    """`found` holds every model's gaps; `labels` are empty where answers are free."""

    requests: list[Request]
    labels: list[str]
    events: Events
    found: dict[str, Any] = field(default_factory=dict)

    def put(self, lm: CausalLM, model: str, folder: Path) -> None:
        """Put every sentence to a model; requests and answers are written below `folder`."""
        (folder / FOLDER).mkdir(exist_ok=True)
        write_requests(folder / FOLDER / REQUESTS, self.requests)
        label = f"evaluate {model}: swapped identities"
        answers = answer_swaps(lm, self.requests, folder, model, self.events, label)
        self.found[model] = measure_bias(self.requests, answers, self.labels)

    def facts(self) -> dict[str, Any]:
        return {"labels": self.labels, "models": self.found}
