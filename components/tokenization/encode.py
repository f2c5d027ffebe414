"""Rows of the dataset table as lines of token ids."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from components.contracts.errors import ModelError
from components.tokenization.encoder import Marked
from components.tokenization.lines import Line, chat_line, text_line
from components.tokenization.render import Rendered, render
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenizer import Tokenizer

Columns = Mapping[str, Sequence[Any]]
"""Columns of `dataset_schema` as lists."""


def encode_rows(
    tokenizer: Tokenizer, columns: Columns, settings: TokenizationSettings, *, texts: bool = True
) -> list[Line]:
    """Return a line for each row, in order; with `texts`, each with its own text's ids.

    A prompt is encoded as inference encodes it, with the earlier answers in it; the last answer is
    encoded apart, so that the prompt's ids are those of inference. A token of an earlier answer is
    trained when all of it lies inside the answer. What is too long is cut as `settings.truncation`
    says, except under `error` and `drop`: the caller looks at `needed` for these.
    """
    conversations = [json.loads(messages) for messages in columns["messages"]]
    rendered = [
        _render(tokenizer, turns, settings, columns, row) if turns else None
        for row, turns in enumerate(conversations)
    ]
    chats = [one for one in rendered if one]
    prompts = iter(_prompts(tokenizer, chats))
    answers = iter(_answers(tokenizer, chats))
    choices = _choices(tokenizer, rendered, columns["choices"])
    rejected = _rejected(tokenizer, conversations, columns, settings)
    own = _own_texts(tokenizer, columns["text"], rendered, everywhere=texts)
    lines = []
    for row, one in enumerate(rendered):
        if one is None:
            lines.append(text_line(own[row], tokenizer.tokens, settings))
            continue
        (head, inside), (answer, marked) = next(prompts), next(answers)
        n = len(one.earlier)
        line = Line(
            head,
            answer,
            text=own.get(row, []),
            answer=answer,
            rejected=rejected.get(row, []),
            choices=choices[row],
            earlier=inside[:n],
            parts=inside[:n] if one.earlier_marked is None else inside[n:],
            tail_parts=None if one.answer_marked is None else marked,
            answers=sum(turn["role"] == "assistant" for turn in conversations[row]),
            rewritten=one.rewritten,
        )
        lines.append(chat_line(line, tokenizer.tokens, settings))
    return lines


def _render(
    tokenizer: Tokenizer, turns: Any, settings: TokenizationSettings, columns: Columns, row: int
) -> Rendered:
    """Render one conversation; a fault names its file and row."""
    answers_only = settings.trains_answers_only
    try:
        if not answers_only and any(turn.get("weight") == 0 for turn in turns):
            raise ModelError(
                "an answer with weight 0 would be trained",
                fix="set tokenization.assistant_only_loss: true",
            )
        return render(tokenizer, turns, earlier=settings.trains_earlier_answers, marks=answers_only)
    except ModelError as error:
        place = f"{columns['source'][row]}:{columns['row'][row]}: " if "source" in columns else ""
        raise ModelError(f"{place}{error.problem}", fix=error.fix) from error


def _own_texts(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    rendered: Sequence[Rendered | None],
    *,
    everywhere: bool,
) -> dict[int, list[int]]:
    """Encode the texts of rows, by row: all of them, or only plain text."""
    wanted = [row for row, one in enumerate(rendered) if everywhere or one is None]
    return dict(zip(wanted, tokenizer.encode([texts[row] for row in wanted]), strict=True))


def _prompts(tokenizer: Tokenizer, chats: Sequence[Rendered]) -> list[Marked]:
    spans = [(*one.earlier, *(one.earlier_marked or ())) for one in chats]
    return tokenizer.encoder.encode_spans([one.prompt for one in chats], spans)


def _answers(tokenizer: Tokenizer, chats: Sequence[Rendered]) -> list[Marked]:
    """Encode each different answer once."""
    keys = [(one.answer.text, one.answer_marked or ()) for one in chats]
    unique = list(dict.fromkeys(keys))
    found = tokenizer.encoder.encode_after([k[0] for k in unique], [k[1] for k in unique])
    known = dict(zip(unique, found, strict=True))
    return [known[key] for key in keys]


def _rejected(
    tokenizer: Tokenizer,
    conversations: Sequence[Any],
    columns: Columns,
    settings: TokenizationSettings,
) -> dict[int, list[int]]:
    """Encode the rejected answers of preference rows, by row: written as the template would."""
    texts = {
        row: render(tokenizer, [*turns[:-1], {**turns[-1], "content": rejected}]).answer.text
        for row, (turns, rejected) in enumerate(
            zip(conversations, columns.get("rejected", [None] * len(conversations)), strict=True)
        )
        if rejected and turns
    }
    found = tokenizer.encoder.encode_after(list(texts.values()), [()] * len(texts))
    return {row: ids for row, (ids, _) in zip(texts, found, strict=True)}


def _choices(
    tokenizer: Tokenizer, rendered: Sequence[Rendered | None], words: Sequence[Any]
) -> list[list[list[int]]]:
    """Encode each different set of label words once."""
    keys = [
        tuple(one.answer.choice(word) for word in few) if one and few else ()
        for one, few in zip(rendered, words, strict=True)
    ]
    unique = list(dict.fromkeys(word for key in dict.fromkeys(keys) for word in key))
    found = tokenizer.encoder.encode_after(unique, [()] * len(unique))
    known = {word: ids for word, (ids, _) in zip(unique, found, strict=True)}
    return [[known[word] for word in key] for key in keys]
