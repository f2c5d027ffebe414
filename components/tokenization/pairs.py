"""Rows for an encoder-decoder: a source that is read, and the target that is written to it."""

import json
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError, ModelError, RecipeError
from components.contracts.task_types import SEQ_2_SEQ_LM
from components.runtime.turns import plain_text
from components.tokenization.encode import Columns
from components.tokenization.encoder import Encoder
from components.tokenization.lines import Line
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenizer import Tokenizer, Tokens, generation_eos

MORE = ("tools", "tool_calls", "reasoning_content")
"""Parts of a turn that only a chat template could write."""


def load_pair_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of an encoder-decoder's folder.

    Raises `ModelError` if it has no tokenizer.json, no end-of-sequence token, or puts none behind a
    text: the encoder has learned to read it there, and the decoder to end with it.
    """
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            "the base model has no tokenizer.json",
            fix="load its tokenizer with AutoTokenizer and save it there with save_pretrained",
        )
    from transformers import PreTrainedTokenizerFast

    hf = PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    hf.backend_tokenizer.no_truncation()
    hf.backend_tokenizer.no_padding()
    end = hf.eos_token_id
    if end is None or hf.backend_tokenizer.encode("a").ids[-1:] != [end]:
        raise ModelError(
            "the base model's tokenizer does not put an end-of-sequence token behind a text",
            fix="set eos_token in its tokenizer_config.json, and in its tokenizer.json a "
            "post-processor that writes it (TemplateProcessing)",
        )
    tokens = Tokens(
        bos=None,
        eos=int(end),
        pad=hf.pad_token_id,
        stop=tuple(sorted({int(end), *generation_eos(folder)})),
        adds_bos=False,
    )
    return Tokenizer(hf, tokens, Encoder(hf), None)


def encode_pairs(
    tokenizer: Tokenizer, columns: Columns, settings: TokenizationSettings, *, texts: bool = True
) -> list[Line]:
    """Return a line for each row: the source as `head`, the last answer with its end as `tail`.

    The source is the plain text of all turns before the answer. One that is too long is cut at its
    end if `truncation` is `truncate_prompt`: what a T5 is asked to do stands at the beginning.

    Raises:
        DataError: a row has no prompt and answer, or a part that only a chat template can write.
        RecipeError: the source is to be trained too.
    """
    del texts  # no text is written from nothing, so none is scored for itself
    if not settings.trains_answers_only:
        raise RecipeError(
            f"tokenization trains whole conversations, but of a {SEQ_2_SEQ_LM} model only the "
            "answer is written",
            fix="set tokenization.assistant_only_loss: true",
        )
    conversations = [json.loads(messages) for messages in columns["messages"]]
    for row, turns in enumerate(conversations):
        _check(turns, f"{columns['source'][row]}:{columns['row'][row]}")
    sources = _whole(tokenizer, [plain_text(turns[:-1]) for turns in conversations])
    answers = _whole(tokenizer, [str(turns[-1]["content"]) for turns in conversations])
    words = list(dict.fromkeys(word for few in columns["choices"] for word in few or ()))
    choices = dict(zip(words, _bare(tokenizer, words), strict=True))
    lines = []
    for row, (source, answer) in enumerate(zip(sources, answers, strict=True)):
        line = Line(
            source,
            answer,
            answer=answer,
            choices=[choices[word] for word in columns["choices"][row] or ()],
            answers=1,
        )
        lines.append(fitted(line, settings))
    return lines


def fitted(line: Line, settings: TokenizationSettings) -> Line:
    """Set what follows from source and answer; cut the source before its last token."""
    room = max(1, settings.max_length - len(line.answer))
    if settings.truncation == "truncate_prompt" and len(line.head) > room:
        line.cut = len(line.head) - room
        line.head = [*line.head[: room - 1], line.head[-1]]
    line.prompt_tokens = len(line.head)
    line.needed = len(line.head) + len(line.answer)
    return line


def facts_of_pairs(tokenizer: Tokenizer, settings: TokenizationSettings) -> dict[str, Any]:
    """Return what of a row is learned."""
    del tokenizer, settings
    return {"rendered": "plain text", "assistant_only_loss": True}


def _check(turns: list[dict[str, Any]], place: str) -> None:
    if len(turns) < 2:
        raise DataError(
            f"{place} is plain text, but model.task_type {SEQ_2_SEQ_LM} writes an answer to a "
            "prompt",
            fix="use a format with prompt and answer, or a decoder (model.task_type: CAUSAL_LM)",
        )
    found = [name for turn in turns for name in MORE if turn.get(name)]
    if found:
        raise DataError(
            f"{place} has {found[0]}, which only a chat template can write",
            fix="leave such rows out, or use a decoder (model.task_type: CAUSAL_LM)",
        )


def _whole(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Encode texts with the end-of-sequence token behind them."""
    return [one.ids for one in tokenizer.hf.backend_tokenizer.encode_batch_fast(texts)]


def _bare(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    backend = tokenizer.hf.backend_tokenizer
    return [one.ids for one in backend.encode_batch_fast(texts, add_special_tokens=False)]
