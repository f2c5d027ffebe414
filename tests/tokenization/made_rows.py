"""Rows of the dataset table, made by hand, still without id and place."""

import json
from typing import Any

NAMES = ["bad", "good"]


def labelled(text: str, target: int = 1, system: str | None = None) -> dict[str, Any]:
    """Return a classification row of the dataset table, still without its place."""
    turns = [{"role": "system", "content": system}] if system else []
    turns += [
        {"role": "user", "content": text},
        {"role": "assistant", "content": NAMES[target]},
    ]
    return {
        "text": text,
        "messages": json.dumps(turns),
        "answer": NAMES[target],
        "choices": NAMES,
        "target": target,
    }


def plain(text: str) -> dict[str, Any]:
    """Return a row of plain text."""
    return {"text": text, "messages": "[]", "answer": "", "choices": [], "target": -1}


def chat(*contents: str) -> dict[str, Any]:
    """Return a conversation that begins with the user and ends with the assistant."""
    turns = [
        {"role": ("user", "assistant")[place % 2], "content": content}
        for place, content in enumerate(contents)
    ]
    row = plain("\n".join(contents))
    return row | {"messages": json.dumps(turns), "answer": contents[-1]}


def talk(*turns: tuple[str, str]) -> dict[str, Any]:
    """Return a conversation of (role, content) turns; the last is the answer."""
    messages = [{"role": role, "content": content} for role, content in turns]
    row = plain("\n".join(content for _, content in turns))
    return row | {"messages": json.dumps(messages), "answer": turns[-1][1]}
