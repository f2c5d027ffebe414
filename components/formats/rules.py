"""What tells one kind of rows from another: the columns they have and what these hold.

One table, read from the top. A kind fits when each column it needs is there under one of its usual
names and holds what it should.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from components.formats.question_answering import texts_in

Test = Callable[[Any], bool]

Found = dict[str, str]
"""Setting of a kind → the column that was found for it."""


class Column(NamedTuple):
    """The names a column usually goes by, the first one preferred, and what its values must be."""

    names: tuple[str, ...]
    holds: Test

    @property
    def says(self) -> str:
        return SAYS[self.holds]


class Rule(NamedTuple):
    """A kind, the columns it needs and may use by their setting, and the kinds it goes before.

    `over` names kinds whose columns may stand beside these without making the case doubtful.
    """

    kind: str
    needs: Mapping[str, Column]
    takes: Mapping[str, Column]
    over: tuple[str, ...] = ()


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_label(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def has_turns(*keys: str) -> Test:
    """Return a test for a list of turns with these keys."""

    def test(value: Any) -> bool:
        return (
            isinstance(value, list)
            and bool(value)
            and all(isinstance(turn, dict) and set(keys) <= turn.keys() for turn in value)
        )

    return test


def is_turns(value: Any) -> bool:
    """Say whether `value` is a list of turns; one that only calls tools may have no content."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(turn, dict)
            and "role" in turn
            and ("content" in turn or "tool_calls" in turn)
            for turn in value
        )
    )


def is_text_or_turns(value: Any) -> bool:
    return is_text(value) or is_turns(value)


def is_answers(value: Any) -> bool:
    return texts_in(value) is not None


def is_pair(value: Any) -> bool:
    return isinstance(value, dict) and len(value) >= 2 and all(map(is_text, value.values()))


def is_list(value: Any) -> bool:
    return isinstance(value, list)


def is_tools(value: Any) -> bool:
    return isinstance(value, list | str)


is_sharegpt = has_turns("from", "value")

SAYS: dict[Test, str] = {
    is_text: "text",
    is_label: "label",
    is_turns: "list of {role, content}",
    is_sharegpt: "list of {from, value}",
    is_text_or_turns: "text or list of {role, content}",
    is_answers: "text, list of texts or {text: […]}",
    is_pair: "{language: text, …}",
    is_list: "list",
    is_tools: "list of tools, or the JSON of one",
}

SYSTEM = Column(("system", "system_prompt"), is_text)
TOOLS = Column(("tools", "functions"), is_tools)
CONVERSATION = ("messages", "conversations", "conversation")

RULES: tuple[Rule, ...] = (
    Rule(
        "preference",
        {
            "prompt": Column(("prompt", "question", "instruction"), is_text_or_turns),
            "chosen": Column(("chosen",), is_text_or_turns),
            "rejected": Column(("rejected",), is_text_or_turns),
        },
        {"system_column": SYSTEM},
        over=("messages", "sharegpt", "text"),
    ),
    Rule(
        "preference",
        {
            "chosen": Column(("chosen",), is_turns),
            "rejected": Column(("rejected",), is_turns),
        },
        {"prompt": Column(("prompt",), is_text_or_turns), "system_column": SYSTEM},
        over=("messages", "sharegpt", "text"),
    ),
    Rule(
        "alpaca",
        {
            "instruction": Column(("instruction",), is_text),
            "output": Column(("output", "response"), is_text),
        },
        {
            "input": Column(("input", "context"), is_text),
            "history": Column(("history",), is_list),
            "system_column": SYSTEM,
        },
        over=("text",),
    ),
    Rule(
        "question_answering",
        {
            "question": Column(("question",), is_text),
            "answers": Column(("answers", "answer"), is_answers),
        },
        {"context": Column(("context",), is_text)},
        over=("text",),
    ),
    Rule(
        "translation",
        {"translation": Column(("translation",), is_pair)},
        {},
        over=("text",),
    ),
    Rule(
        "translation",
        {"source": Column(("source",), is_text), "target": Column(("target",), is_text)},
        {},
        over=("text",),
    ),
    Rule(
        "summarization",
        {
            "document": Column(("document", "article", "dialogue", "text"), is_text),
            "summary": Column(("summary", "highlights"), is_text),
        },
        {},
        over=("text",),
    ),
    Rule(
        "classification",
        {"text": Column(("text", "sentence"), is_text), "label": Column(("label",), is_label)},
        {},
        over=("text",),
    ),
    Rule(
        "prompt_completion",
        {
            "prompt": Column(("prompt", "query", "input"), is_text_or_turns),
            "completion": Column(("completion", "response", "output"), is_text_or_turns),
        },
        {"system_column": SYSTEM},
        over=("text",),
    ),
    Rule(
        "messages",
        {"messages": Column(CONVERSATION, is_turns)},
        {"tools": TOOLS},
        over=("text",),
    ),
    Rule(
        "sharegpt",
        {"conversations": Column(CONVERSATION, is_sharegpt)},
        {"system_column": SYSTEM, "tools": TOOLS},
        over=("text",),
    ),
    Rule("text", {"text": Column(("text", "content"), is_text)}, {}),
)
