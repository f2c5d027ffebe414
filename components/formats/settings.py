"""The recipe's `format` section: which columns mean what, and how they become a prompt.

The settings that name columns are the mapping: `prompt: question` reads the prompt from the column
`question`. Where a prompt is made, `template` makes the user's turn and `system` is the fixed turn
before it; `system_column` names a column with a row's own system turn, which goes before the fixed
one.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.contracts.settings import Settings
from components.formats.template import need


class AutoSettings(Settings):
    """The kind is told by the columns; see `components.formats.detect`."""

    kind: Literal["auto"]


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


class AlpacaSettings(Settings):
    """An instruction, perhaps with an input and earlier turns, and the output to learn.

    A row whose input is missing or empty takes `template_without_input`. `history` is a list of
    [instruction, output] pairs that become the turns before.
    """

    kind: Literal["alpaca"]
    instruction: str = "instruction"
    input: str | None = "input"
    output: str = "output"
    history: str | None = "history"
    system_column: str | None = "system"
    template: str = "{instruction}\n{input}"
    template_without_input: str = "{instruction}"
    system: str | None = None

    @model_validator(mode="after")
    def _places(self) -> Self:
        need(self.template, ["instruction", "input"])
        need(self.template_without_input, ["instruction"], "template_without_input")
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
    def _places(self) -> Self:
        need(self.template, ["text"])
        return self


class MessagesSettings(Settings):
    """A column with a conversation: a list of {"role", "content"} that ends with the assistant.

    `tools` is a column with the functions that a conversation may call, where rows have one.
    """

    kind: Literal["messages"]
    messages: str = "messages"
    tools: str | None = "tools"


class PreferenceSettings(Settings):
    """A prompt, the answer that was chosen and the one that was rejected.

    Prompt and answers are texts or lists of {"role", "content"}. With lists the prompt may be
    missing (or `null` here): what both conversations begin with is the prompt.
    """

    kind: Literal["preference"]
    prompt: str | None = "prompt"
    chosen: str = "chosen"
    rejected: str = "rejected"
    system_column: str | None = None
    system: str | None = None


class PromptCompletionSettings(Settings):
    """A prompt column and the completion to learn, as one user and one assistant turn.

    A prompt may also be a list of {"role", "content"}, a completion such a list of one turn.
    """

    kind: Literal["prompt_completion"]
    prompt: str = "prompt"
    completion: str = "completion"
    system_column: str | None = None
    system: str | None = None


class QuestionAnsweringSettings(Settings):
    """A question, perhaps about a context, and all the answers that are accepted.

    `answers` holds a text, a list of texts or SQuAD's {"text": […], "answer_start": […]}; the first
    one is learned. `no_answer` is what to learn where the list is empty; without it such a row
    does not fit. `context: null` is for questions without one.
    """

    kind: Literal["question_answering"]
    question: str = "question"
    context: str | None = "context"
    answers: str = "answers"
    no_answer: str | None = None
    template: str | None = None
    system: str | None = None

    @property
    def prompt(self) -> str:
        """The template in use."""
        if self.template is not None:
            return self.template
        return "{question}" if self.context is None else "{context}\n\n{question}"

    @model_validator(mode="after")
    def _places(self) -> Self:
        need(self.prompt, ["question"] if self.context is None else ["context", "question"])
        return self


class ShareGPTSettings(Settings):
    """A column with a conversation: a list of {"from", "value"} that ends with the model.

    `role_tag` and `content_tag` are the keys of a turn. `tools` is a column with the functions that
    a conversation may call, where rows have one.
    """

    kind: Literal["sharegpt"]
    conversations: str = "conversations"
    role_tag: str = "from"
    content_tag: str = "value"
    system_column: str | None = "system"
    tools: str | None = "tools"


class SummarizationSettings(Settings):
    """A document and its summary."""

    kind: Literal["summarization"]
    document: str = "document"
    summary: str = "summary"
    template: str = "Summarize the following text:\n\n{document}"
    system: str | None = None

    @model_validator(mode="after")
    def _places(self) -> Self:
        need(self.template, ["document"])
        return self


class TextSettings(Settings):
    """A column of plain text, learned whole."""

    kind: Literal["text"]
    text: str = "text"


class TranslationSettings(Settings):
    """A text and its translation, in two columns or in one column with a text a language.

    With `translation: COLUMN` that column holds {"en": …, "de": …}, and the two languages are its
    keys. Otherwise `source` and `target` are columns and the languages only tell the prompt.
    `template` may hold {source_language} and {target_language}, written as names where the code is
    known (en → English).
    """

    kind: Literal["translation"]
    source: str = "source"
    target: str = "target"
    translation: str | None = None
    source_language: str | None = None
    target_language: str | None = None
    template: str | None = None
    system: str | None = None

    @property
    def prompt(self) -> str:
        """The template in use."""
        if self.template is not None:
            return self.template
        origin = "" if self.source_language is None else " from {source_language}"
        goal = "" if self.target_language is None else " to {target_language}"
        return f"Translate{origin}{goal}:\n\n{{source}}"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        need(self.prompt, ["source"])
        languages = {
            "source_language": self.source_language,
            "target_language": self.target_language,
        }
        for name, language in languages.items():
            if language is None and self.translation is not None:
                raise ValueError(f"translation needs {name}, the key of that text in the column")
            if language is None and f"{{{name}}}" in self.prompt:
                raise ValueError(f"template contains {{{name}}}, so {name} is needed")
        if self.source_language is not None and self.source_language == self.target_language:
            raise ValueError("source_language and target_language must differ")
        return self


FormatSettings = Annotated[
    AlpacaSettings
    | AutoSettings
    | ClassificationSettings
    | MessagesSettings
    | PreferenceSettings
    | PromptCompletionSettings
    | QuestionAnsweringSettings
    | ShareGPTSettings
    | SummarizationSettings
    | TextSettings
    | TranslationSettings,
    Field(discriminator="kind"),
]
