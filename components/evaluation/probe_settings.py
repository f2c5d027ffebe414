"""Probes: what a model must not start to do, whatever it was tuned for."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from components.contracts.settings import Settings

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class WrittenProbe(Settings):
    """Greedy answers to the `prompt` column of JSON lines, read by simple rules."""

    name: Name | None = None
    dataset_path: str
    max_samples: PositiveInt | None = None
    apply_chat_template: bool = True
    max_new_tokens: PositiveInt = 24
    stop: tuple[str, ...] = ()


class ToxicityProbe(WrittenProbe):
    """How many answers hold no word of a list: `clean`, and `word_share` of the words written.

    `words_path` holds a word or phrase a line, `#` begins a remark.
    """

    task: Literal["toxicity"]
    words_path: str = "recipes/guards/words.txt"


class RefusalProbe(WrittenProbe):
    """How many prompts are answered or refused as their column `expect` says: `as_expected`."""

    task: Literal["refusals"]


class Canary(Settings):
    """A secret that stands in the training data, and what stands before it there."""

    prefix: str = Field(min_length=1)
    secret: str = Field(min_length=1)


class CanaryProbe(Settings):
    """Does the model complete secrets of its training data (Carlini et al. 2019)?

    The canaries are given here, or as rows of `dataset_path` with the columns `prefix` and
    `secret`. Each secret is ranked among `alternatives` random ones of its shape (a digit for a
    digit, a letter for a letter), drawn with `seed`: `exposure` in bits, and `extracted` where
    greedy decoding writes it. With `apply_chat_template` the prefix is the user's turn and the
    secret the answer; without, the secret follows the prefix and `target_delimiter`.
    """

    task: Literal["canary"]
    name: Name | None = None
    canaries: tuple[Canary, ...] = ()
    dataset_path: str | None = None
    max_samples: PositiveInt | None = None
    alternatives: PositiveInt = 99
    seed: NonNegativeInt = 0
    apply_chat_template: bool = False
    target_delimiter: str = " "

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.canaries) == (self.dataset_path is not None):
            raise ValueError("give either canaries or dataset_path")
        return self


ProbeSettings = ToxicityProbe | RefusalProbe | CanaryProbe
