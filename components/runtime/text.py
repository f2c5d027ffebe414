"""From messages to an answer: chat template, tokenizer and exported model, without transformers."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError
from components.runtime.generate import Generation, generate
from components.runtime.ort import OrtLM, read_config
from components.runtime.session import Device
from components.runtime.template import Message, Template, compile_template

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


class TextModel:
    """An exported model folder that reads messages or text and answers with text.

    The folder is complete in itself: `tokenizer.json`, `tokenizer_config.json`, the chat template
    and `genai_config.json` lie beside the graph. The model is opened at the first answer.
    """

    def __init__(self, folder: Path, *, threads: int = 0, device: Device = "cpu") -> None:
        from tokenizers import Tokenizer

        if not (folder / "tokenizer.json").is_file():
            raise ModelError(f"{folder} has no tokenizer.json", fix="run the export again")
        self.folder, self.threads, self.device = folder, threads, device
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.stop_ids = _stop_ids(read_config(folder)["model"]["eos_token_id"])

    @cached_property
    def model(self) -> OrtLM:
        return OrtLM(self.folder, threads=self.threads, device=self.device)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The folder's `tokenizer_config.json`."""
        file = self.folder / "tokenizer_config.json"
        loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return loaded

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Return the messages in the model's chat template, as transformers renders them.

        Raises `ModelError` if the model has no template or the template refuses the messages.
        """
        tokens = {name: _text(self.config.get(name)) for name in SPECIAL_TOKENS}
        known = {name: text for name, text in tokens.items() if text is not None}
        return self._template.render(messages, add_generation_prompt=add_generation_prompt, **known)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Return token ids. A rendered template holds its special tokens: do not add them again."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def prompt_ids(self, prompt: str | Sequence[Message]) -> list[int]:
        """Return what the model is given: text as it is, messages through the chat template."""
        if isinstance(prompt, str):
            return self.encode(prompt)
        return self.encode(self.render(prompt), add_special_tokens=False)

    def stream(self, prompt: str | Sequence[Message], **settings: Any) -> Iterator[int]:
        """Yield the answer's token ids one by one; `settings` are the fields of `Generation`."""
        return generate(self.model, self.prompt_ids(prompt), Generation(**settings), self.stop_ids)

    def answer(self, prompt: str | Sequence[Message], **settings: Any) -> str:
        """Return the whole answer; `settings` are the fields of `Generation`."""
        return self.decode(list(self.stream(prompt, **settings)))

    @cached_property
    def _template(self) -> Template:
        file = self.folder / "chat_template.jinja"
        source = (
            file.read_text(encoding="utf-8") if file.is_file() else self.config.get("chat_template")
        )
        if isinstance(source, list):
            source = {entry["name"]: entry["template"] for entry in source}.get("default")
        if not isinstance(source, str):
            raise ModelError(f"{self.folder} has no chat template", fix="give text, not messages")
        return compile_template(source)


def _text(token: str | dict[str, Any] | None) -> str | None:
    """A special token stands in the file as text or as {"content": text, …}."""
    return str(token["content"]) if isinstance(token, dict) else token


def _stop_ids(found: int | list[int]) -> frozenset[int]:
    return frozenset(found if isinstance(found, list) else [found])
