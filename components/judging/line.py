"""The artefacts of a recipe that hold answers, or the models that can give them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from components.contracts.artefacts import Artefact
from components.contracts.errors import RecipeError, choose
from components.contracts.kinds import (
    Adapter,
    BaseModelFolder,
    Dataset,
    Evaluation,
    Onnx,
    Tokens,
    Verification,
)

TORCH = ("base", "tuned")
A = TypeVar("A", bound=Artefact)


@dataclass(frozen=True)
class Line:
    """The artefacts below `folder`, each opened when it is needed."""

    folder: Path

    @cached_property
    def base(self) -> BaseModelFolder:
        return self._open(BaseModelFolder)

    @cached_property
    def dataset(self) -> Dataset:
        return self._open(Dataset)

    @cached_property
    def tokens(self) -> Tokens:
        return self._open(Tokens)

    @cached_property
    def adapter(self) -> Adapter:
        return self._open(Adapter)

    @cached_property
    def evaluation(self) -> Evaluation:
        return self._open(Evaluation)

    @cached_property
    def onnx(self) -> Onnx:
        return self._open(Onnx)

    @cached_property
    def verification(self) -> Verification:
        return self._open(Verification)

    @property
    def split(self) -> str:
        return str(self.evaluation.facts["items"]["split"])

    def check_models(self, names: tuple[str, str]) -> None:
        """Raise `RecipeError` unless these are two models of the line."""
        known = {name: name for name in (*TORCH, *self.verification.facts["variants"])}
        for name in names:
            choose("model", name, known, RecipeError)
        if names[0] == names[1]:
            raise RecipeError(
                f"both models are '{names[0]}': there is nothing to compare",
                fix=f"name two of: {', '.join(known)}",
            )

    def scored_by(self, model: str) -> Evaluation | Verification:
        """Return the artefact that holds the answers of a model."""
        return self.evaluation if model in TORCH else self.verification

    def digests(self, *names: str) -> dict[str, str]:
        """Return the digest of each artefact, by its name."""
        return {name: getattr(self, name).digest for name in names}

    def _open(self, kind: type[A]) -> A:
        return kind.open(self.folder / kind.kind)
