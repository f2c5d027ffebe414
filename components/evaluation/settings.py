"""What is evaluated."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from components.contracts.settings import Settings
from components.evaluation.probe_settings import ProbeSettings
from components.formats.settings import AutoSettings, FormatSettings

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class PerplexitySettings(Settings):
    """Perplexity over documents, by token, word and byte, and bits per byte.

    Documents are the rows' own texts, or column `text_column` of the JSON lines in `dataset_path`.
    A document is read in windows of `max_length` tokens, of which each but the first scores
    `stride` (null: all of them, as lm-eval does), and its first token is scored behind
    `prefix_token` (`auto`: the one of the tokenization section).
    """

    max_length: PositiveInt = 1024
    stride: PositiveInt | None = None
    prefix_token: str = "auto"
    dataset_path: str | None = None
    text_column: str = "text"
    max_samples: PositiveInt | None = None

    @model_validator(mode="after")
    def _every_token_once(self) -> Self:
        if self.stride is not None and self.stride > self.max_length:
            raise ValueError(f"stride must be at most max_length ({self.max_length})")
        return self


class PerplexityTask(PerplexitySettings):
    """The same as one of several tasks: texts of another file."""

    task: Literal["perplexity"]
    name: Name


class RowsTask(Settings):
    """A task over rows: the recipe's own held-out ones, or JSON lines.

    The rows of `dataset_path` are read in `format`. `num_fewshot` examples stand before every
    prompt, the same for all items: drawn with `fewshot_seed` from the recipe's train split, or from
    the rows of `train_path`. `base_num_fewshot` asks the base model a second time with so many
    examples: what prompting alone would have reached. With `apply_chat_template` examples are
    turns of the conversation, without it they are plain text before `fewshot_delimiter`.
    """

    name: Name | None = None
    dataset_path: str | None = None
    train_path: str | None = None
    format: FormatSettings = AutoSettings(kind="auto")
    max_samples: PositiveInt | None = None
    num_fewshot: NonNegativeInt = 0
    base_num_fewshot: NonNegativeInt = 0
    fewshot_seed: int = 0
    apply_chat_template: bool = True
    fewshot_delimiter: str = "\n\n"
    target_delimiter: str = " "

    @model_validator(mode="after")
    def _examples_from_elsewhere(self) -> Self:
        shots = max(self.num_fewshot, self.base_num_fewshot)
        if shots and self.dataset_path is not None and self.train_path is None:
            raise ValueError("few-shot examples never come from the test: give train_path")
        if self.train_path is not None and self.train_path == self.dataset_path:
            raise ValueError("train_path is dataset_path: few-shot examples would be test items")
        return self


class ChoiceTask(RowsTask):
    """Which of a row's choices is the likeliest: `acc`, `acc_norm`, `acc_bytes`."""

    task: Literal["choice"]


class WritingTask(RowsTask):
    """A free greedy answer of at most `max_new_tokens`, ended by any text of `stop`.

    What `extract` (a regular expression, first group) finds in it is marked.
    """

    task: Literal["generation", "question_answering", "summarization", "translation"]
    max_new_tokens: PositiveInt = 64
    stop: tuple[str, ...] = ()
    extract: str | None = None

    @model_validator(mode="after")
    def _readable(self) -> Self:
        try:
            re.compile(self.extract or "")
        except re.error as error:
            raise ValueError(f"extract is no regular expression: {error}") from error
        return self


class CodeTask(Settings):
    """Programs written by the model and run against unit tests: `pass@1`.

    Rows of `dataset_path` (JSON lines) have the columns `prompt` and `test`, and `entry_point`
    where the tests are a function `check` (HumanEval's shape). Each program runs in a process of
    its own with `timeout` seconds, `memory` bytes and, where the system allows it, no network. That
    guards against accidents only, so it runs nothing unless `confirm_run_unsafe_code` is true. With
    `num_samples` > 1 and a `temperature` the estimate is Chen et al.'s (2021).
    """

    task: Literal["code"]
    name: Name | None = None
    dataset_path: str
    confirm_run_unsafe_code: Literal[True]
    max_samples: PositiveInt | None = None
    apply_chat_template: bool = True
    max_new_tokens: PositiveInt = 512
    stop: tuple[str, ...] = ("\nclass ", "\ndef ", "\n#", "\nif __name__", "\nprint(")
    num_samples: PositiveInt = 1
    temperature: float = Field(0.0, ge=0)
    seed: int = 0
    timeout: PositiveFloat = 10.0
    memory: PositiveInt = 1 << 30
    workers: PositiveInt = 1

    @model_validator(mode="after")
    def _different_samples(self) -> Self:
        if self.num_samples > 1 and self.temperature == 0:
            raise ValueError("num_samples > 1 needs a temperature: greedy samples are all the same")
        return self


class LmEvalTask(Settings):
    """A task of lm-eval by its name, or by that of a YAML file in the folder `include_path`.

    The settings are lm-eval's own; null leaves them to the task.
    """

    task: Literal["lm_eval"]
    name: str
    include_path: str | None = None
    num_fewshot: NonNegativeInt | None = None
    limit: PositiveInt | None = None
    apply_chat_template: bool = False
    fewshot_random_seed: int = 1234


TaskSettings = Annotated[
    ChoiceTask | WritingTask | CodeTask | PerplexityTask | LmEvalTask | ProbeSettings,
    Field(discriminator="task"),
]


class SliceSettings(Settings):
    """By what the items are parted, so that every metric is also told for each part.

    By length (`bins` groups, cut at quantiles), by label, by distance from the training text, and
    by each of `columns` of the raw rows (numbers in `bins` too, other values the commonest
    `max_groups`). A part of fewer than `min_items` is shown but not judged; a part got
    worse than under the base where p ≤ `alpha` after Holm's correction over all parts.
    """

    bins: int = Field(default=4, ge=2, le=20)
    columns: tuple[str, ...] = ()
    max_groups: int = Field(default=8, ge=2, le=50)
    min_items: PositiveInt = 30
    alpha: float = Field(default=0.01, gt=0, lt=1)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns: a column is named twice")
        return self


class BiasSettings(Settings):
    """The identity-swap test: sentences that differ in the named group only.

    `groups` are adjectives by axis. `templates_path` is a file of JSON lines with `template` (in
    which `{group}` stands for the group) and, where answers are free, `continuation` and `kind`;
    null takes those that come along.
    """

    groups: dict[str, tuple[str, ...]] = Field(
        default={
            "gender": ("female", "male"),
            "religion": ("Christian", "Muslim", "Jewish"),
            "origin": ("American", "Nigerian", "Chinese"),
        }
    )
    templates_path: str | None = None

    @model_validator(mode="after")
    def _to_swap(self) -> Self:
        for axis, groups in self.groups.items():
            if len(set(groups)) < 2 or len(set(groups)) < len(groups):
                raise ValueError(f"groups.{axis}: name two groups or more, each once")
            if any("\t" in name for name in (axis, *groups)):
                raise ValueError(f"groups.{axis}: a name holds a tab")
        if not self.groups:
            raise ValueError("groups: name an axis, or leave out bias")
        return self


class EvaluationSettings(Settings):
    """`max_samples` takes the first items of the split only (`null`: all). `slices: null` leaves
    out the figures by slice; `bias: {}` adds the identity-swap test.

    `max_text_samples`: of how many of them the text is read too, for perplexity over text.
    `perplexity` and `tasks` are put to base, tuned and every exported file, and compared in pairs:
    a difference has p ≤ `alpha` after Holm's correction over all of them. `guards` are tasks that
    show that nothing else got worse: the gate holds each against the base (`gate.guards`).
    """

    split: Literal["test", "validation"] = "test"
    max_samples: PositiveInt | None = None
    max_text_samples: PositiveInt | None = None
    perplexity: PerplexitySettings | None = None
    tasks: tuple[TaskSettings, ...] = ()
    guards: tuple[TaskSettings, ...] = ()
    alpha: float = Field(0.01, gt=0, lt=1)
    slices: SliceSettings | None = SliceSettings()
    bias: BiasSettings | None = None

    @model_validator(mode="after")
    def _one_name_each(self) -> Self:
        names = self.names()
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"two tasks are called {', '.join(twice)}: give one another name")
        return self

    def names(self) -> list[str]:
        """Return the name of every task, in order."""
        own = ["perplexity"] if self.perplexity is not None else []
        return own + [one.name or one.task for one in (*self.tasks, *self.guards)]

    def paths(self) -> list[str]:
        """Return every local file or folder that a task reads."""
        asked = [
            *self.tasks,
            *self.guards,
            *([self.perplexity] if self.perplexity is not None else []),
        ]
        fields = ("dataset_path", "train_path", "include_path", "words_path")
        found = [getattr(one, field, None) for one in asked for field in fields]
        found += [self.bias.templates_path] if self.bias is not None else []
        return [path for path in found if path is not None]
