"""Rows with a label for an encoder: the ids of a text, between the tokens it wants around it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.contracts.errors import DataError, ModelError
from components.tokenization.encode import Columns
from components.tokenization.encoder import Encoder
from components.tokenization.lines import Line
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenizer import Tokenizer, Tokens


def load_encoder_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of an encoder's folder.

    Raises `ModelError` if it has no tokenizer.json, or puts nothing before a text although it has a
    token for that.
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
    first = hf.backend_tokenizer.encode("a").ids[:1]
    if hf.cls_token_id is not None and first != [hf.cls_token_id]:
        raise ModelError(
            f"the base model's tokenizer does not put its {hf.cls_token} before a text, which the "
            "head reads",
            fix="give its tokenizer.json a post-processor that does (TemplateProcessing)",
        )
    end = hf.sep_token_id if hf.sep_token_id is not None else hf.eos_token_id
    tokens = Tokens(
        bos=None,
        eos=-1 if end is None else int(end),
        pad=hf.pad_token_id,
        stop=(),
        adds_bos=False,
    )
    return Tokenizer(hf, tokens, Encoder(hf), None)


@dataclass
class Labelled:
    """Encodes texts with labels, and remembers the labels: all rows must have the same."""

    labels: tuple[str, ...] = field(default=())

    def encode(
        self,
        tokenizer: Tokenizer,
        columns: Columns,
        settings: TokenizationSettings,
        *,
        texts: bool = True,
    ) -> list[Line]:
        """Return a line for each row: its text, as the user's turn has it, with special tokens.

        A row that is too long is cut at its end if `truncation` is `truncate_prompt`. Raises
        `DataError` naming the row that has no label, or other labels than the rows before it.
        """
        del texts  # no text is scored for itself
        self._check(columns)
        backend = tokenizer.hf.backend_tokenizer
        turns = [
            _text(json.loads(messages), text)
            for messages, text in zip(columns["messages"], columns["text"], strict=True)
        ]
        lines = []
        for turn, one in zip(turns, backend.encode_batch_fast(turns), strict=True):
            ids, whole = one.ids, len(one.ids)
            if whole > settings.max_length and settings.truncation == "truncate_prompt":
                ids = cut_at(backend, turn, settings.max_length)
            cut = whole - len(ids)
            lines.append(Line(ids, [], prompt_tokens=len(ids), cut=cut, needed=len(ids), targets=1))
        return lines

    def facts(self, tokenizer: Tokenizer, settings: TokenizationSettings) -> dict[str, Any]:
        """Return the labels in the order of the head."""
        del tokenizer, settings
        return {"labels": list(self.labels)}

    def _check(self, columns: Columns) -> None:
        for row, choices in enumerate(columns["choices"]):
            found = tuple(choices or ())
            if not self.labels and found:
                self.labels = found
            if found and found == self.labels and columns["target"][row] >= 0:
                continue
            place = f"{columns['source'][row]}:{columns['row'][row]}"
            said = f"one of {', '.join(found)}" if found else "no label"
            wanted = ", ".join(self.labels) or "the same labels"
            raise DataError(
                f"{place} has {said}, but model.task_type SEQ_CLS gives every text one of {wanted}",
                fix="use format: {kind: classification}, or model.task_type: CAUSAL_LM",
            )


def _text(turns: list[dict[str, Any]], text: str) -> str:
    """Return the user's turn: the text in the format's template."""
    asked = [str(turn["content"]) for turn in turns if turn["role"] == "user"]
    return asked[-1] if asked else text


def cut_at(backend: Any, text: str, length: int) -> list[int]:
    """Return the ids of the beginning of a text, with the special tokens behind it."""
    backend.enable_truncation(length)
    try:
        ids: list[int] = backend.encode(text).ids
        return ids
    finally:
        backend.no_truncation()
