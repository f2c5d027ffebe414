"""Many questions answered at once: each by itself, faults told row by row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.contracts.errors import ModelError, TunelineError
from components.runtime.generate import Generation
from components.runtime.labels import Ids, label_ids, label_logprobs, probabilities
from components.runtime.shape import Prompt, Shape
from components.runtime.template import Message
from components.runtime.text import TextModel

DIGITS = 6
"""Digits of a probability: what a batch's order of summation cannot change."""


@dataclass(frozen=True)
class Fault:
    """Why a row has no answer, and what to do."""

    problem: str
    fix: str | None = None


Answer = dict[str, Any]
"""The new columns of a row: `answer`, or `predicted_label` and `probabilities`."""


@dataclass
class Predictor:
    """A model with one way of answering rows.

    With `labels` the answer is one of the shape's label words and the probability of each, read
    from one forward; else it is generated.
    """

    model: TextModel
    shape: Shape
    generation: Generation
    stop: tuple[str, ...] = ()
    system: str | None = None
    batch_size: int = 16
    labels: bool = False
    _ids: list[Ids] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The names that an answer has, in order."""
        return ["predicted_label", "probabilities"] if self.labels else ["answer"]

    def prompt(self, asked: str | Sequence[Message]) -> Prompt:
        """Return the prompt of a text or a conversation; raise `ModelError` if it does not fit."""
        if isinstance(asked, str):
            return self.shape.ask(asked, system=self.system)
        return self.shape.turns(asked, system=self.system)

    def predict(
        self, asked: Sequence[str | Sequence[Message]]
    ) -> Iterator[tuple[int, Answer | Fault]]:
        """Yield (index, answer or fault) of each row, in the order that is cheapest."""
        prompts: list[list[int]] = []
        places: list[int] = []
        for index, one in enumerate(asked):
            try:
                prompts.append(self._ids_of(one))
            except TunelineError as error:
                yield index, Fault(error.problem, error.fix)
            else:
                places.append(index)
        answers = self._labelled(prompts) if self.labels else self._written(prompts)
        for index, answer in answers:
            yield places[index], answer

    def _ids_of(self, asked: str | Sequence[Message]) -> list[int]:
        prompt = self.prompt(asked)
        ids = self.model.prompt_ids(prompt)
        if self.labels:
            if not self._ids:
                self._ids = label_ids(self.model, prompt, self.shape.labels)
            longest = max(map(len, self._ids))
            if len(ids) + longest > self.model.context_length:
                raise ModelError(
                    f"{len(ids)} tokens leave no room for a label in the model's context of "
                    f"{self.model.context_length}",
                    fix="shorten the text",
                )
        return ids

    def _labelled(self, prompts: Sequence[Sequence[int]]) -> Iterator[tuple[int, Answer]]:
        names = self.shape.labels
        for index, logprobs in label_logprobs(self.model, prompts, self._ids):
            shares = [round(share, DIGITS) for share in probabilities(logprobs)]
            best = names[int(logprobs.argmax())]
            told = dict(zip(names, shares, strict=True))
            yield index, {"predicted_label": best, "probabilities": told}

    def _written(self, prompts: Sequence[Sequence[int]]) -> Iterator[tuple[int, Answer]]:
        """Generate: rows with room for the whole answer together, the others one by one."""
        room = self.model.context_length - self.generation.max_new_tokens
        together = [at for at, ids in enumerate(prompts) if len(ids) <= room]
        for index, text in self.model.answers(
            [prompts[at] for at in together],
            self.generation,
            stop=self.stop,
            batch_size=self.batch_size,
        ):
            yield together[index], {"answer": text}
        for at, ids in enumerate(prompts):
            if len(ids) > room:
                how = self.model.fitting(ids, self.generation)
                for _, text in self.model.answers([ids], how, stop=self.stop, batch_size=1):
                    yield at, {"answer": text}
