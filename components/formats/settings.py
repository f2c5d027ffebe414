"""The recipe's `format` section: which columns mean what."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.contracts.settings import Settings


class LabelSettings(Settings):
    """The label words and the column they come from.

    Without `bins` the column holds the words themselves, or keys of `values` ({0: bad, 1: good}).
    With `bins` it holds a number: below the first bin edge is the first name, above the last edge
    the last name; a value on an edge belongs to the name nearer to the middle.
    """

    column: str
    names: tuple[str, ...] = Field(min_length=2)
    bins: tuple[float, ...] | None = None
    values: dict[str | int, str] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.names)) != len(self.names):
            raise ValueError("names must differ from each other")
        if self.bins is not None and len(self.bins) != len(self.names) - 1:
            raise ValueError(f"{len(self.names)} names need {len(self.names) - 1} bins")
        if self.bins is not None and list(self.bins) != sorted(set(self.bins)):
            raise ValueError("bins must rise")
        strangers = set((self.values or {}).values()) - set(self.names)
        if strangers:
            raise ValueError(f"values names labels that are not in names: {sorted(strangers)}")
        return self


class ClassificationSettings(Settings):
    """A text and one of a few label words as the answer.

    `template` makes the user's turn of the text; `system` is the turn before it.
    """

    kind: Literal["classification"]
    text: str = "text"
    label: LabelSettings
    template: str = "{text}"
    system: str | None = None

    @model_validator(mode="after")
    def _uses_text(self) -> Self:
        if "{text}" not in self.template:
            raise ValueError("template must contain {text}")
        return self


class MessagesSettings(Settings):
    """A column with a conversation: a list of {"role", "content"} that ends with the assistant."""

    kind: Literal["messages"]
    messages: str = "messages"


class PromptCompletionSettings(Settings):
    """A prompt column and the completion to learn, as one user and one assistant turn."""

    kind: Literal["prompt_completion"]
    prompt: str = "prompt"
    completion: str = "completion"
    system: str | None = None


class TextSettings(Settings):
    """A column of plain text, learned whole."""

    kind: Literal["text"]
    text: str = "text"


FormatSettings = Annotated[
    ClassificationSettings | MessagesSettings | PromptCompletionSettings | TextSettings,
    Field(discriminator="kind"),
]
