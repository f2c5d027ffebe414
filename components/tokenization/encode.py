"""Rows as token ids with labels and their line of the supervision ledger."""

import json
from collections.abc import Sequence
from typing import Any

from components.contracts.tables import IGNORED
from components.tokenization.render import Rendered, render
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenizer import Tokenizer

Row = dict[str, Any]


def encode_rows(
    tokenizer: Tokenizer, rows: Sequence[Row], settings: TokenizationSettings
) -> list[Row]:
    """Return one line of `tokens_schema` for each row of `dataset_schema`, in order.

    Prompt and answer are encoded apart, so the prompt's ids are those of inference. Whatever is
    too long is cut as `settings.truncation` says, except under `error` and `drop`: the caller
    looks at `length` for these.
    """
    conversations = [json.loads(row["messages"]) for row in rows]
    rendered = [render(tokenizer, turns) if turns else None for turns in conversations]
    texts = tokenizer.encode([row["text"] for row in rows])
    prompts = iter(tokenizer.encode([one.prompt for one in rendered if one]))
    answers = iter(tokenizer.encode([one.answer for one in rendered if one]))
    choices = _choices(tokenizer, rows, rendered)
    lines = []
    for row, one, text in zip(rows, rendered, texts, strict=True):
        if one is None:
            line = _text_line(tokenizer, text, settings)
        else:
            line = _chat_line(next(prompts), next(answers), settings)
            line["choice_ids"] = [choices[one.choice(word)] for word in row["choices"]]
        line |= {"id": row["id"], "target": row["target"], "text_ids": text}
        line["text_bytes"] = len(row["text"].encode())
        lines.append(_with_ledger(line, tokenizer))
    return lines


def _choices(
    tokenizer: Tokenizer, rows: Sequence[Row], rendered: Sequence[Rendered | None]
) -> dict[str, list[int]]:
    """Encode each different label word once."""
    words = {
        one.choice(word): None
        for row, one in zip(rows, rendered, strict=True)
        if one
        for word in row["choices"]
    }
    return dict(zip(words, tokenizer.encode(list(words)), strict=True))


def _chat_line(prompt: list[int], answer: list[int], settings: TokenizationSettings) -> Row:
    whole = len(prompt) + len(answer)
    if settings.truncation == "truncate_prompt" and whole > settings.max_length:
        # The end of a prompt says that the answer comes next; its front is cut. One token stays.
        prompt = prompt[-max(1, settings.max_length - len(answer)) :]
    ids = prompt + answer
    if settings.assistant_only_loss:
        labels = [IGNORED] * len(prompt) + answer
    else:
        labels = [IGNORED, *ids[1:]]
    return {
        "input_ids": ids,
        "labels": labels,
        "prompt_tokens": len(prompt),
        "answer_ids": answer,
        "truncated_tokens": whole - len(ids),
    }


def _text_line(tokenizer: Tokenizer, text: list[int], settings: TokenizationSettings) -> Row:
    tokens = tokenizer.tokens
    start = [tokens.bos] if tokens.adds_bos and tokens.bos is not None else []
    whole = [*start, *text, tokens.eos]
    cut = settings.truncation == "truncate_prompt"
    ids = whole[: settings.max_length] if cut else whole
    return {
        "input_ids": ids,
        "labels": [IGNORED, *ids[1:]],  # nothing comes before the first token to predict it from
        "prompt_tokens": 0,
        "answer_ids": [],
        "choice_ids": [],
        "truncated_tokens": len(whole) - len(ids),
    }


def _with_ledger(line: Row, tokenizer: Tokenizer) -> Row:
    ids, labels, tokens = line["input_ids"], line["labels"], tokenizer.tokens
    return line | {
        "length": len(ids),
        "trained_tokens": sum(label != IGNORED for label in labels),
        "eos_trained": labels[-1] in tokens.stop,
        "bos_doubled": tokens.bos is not None and ids[:2] == [tokens.bos, tokens.bos],
    }
