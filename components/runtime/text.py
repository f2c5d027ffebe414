"""From messages to an answer: chat template, tokenizer and exported model, without transformers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError
from components.runtime.batch import Stop, cut, generate_batch
from components.runtime.generate import Generation, generate
from components.runtime.ort import OrtLM, read_config
from components.runtime.ragged import decodes_together
from components.runtime.session import Device
from components.runtime.stream import Speech, TextStream
from components.runtime.template import Message, Template, compile_template

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


class TooLongError(ModelError):
    """A prompt that the model's context cannot hold together with an answer."""


class TextModel:
    """An exported model folder that reads messages or text and answers with text.

    The folder is complete in itself: `tokenizer.json`, `tokenizer_config.json`, the chat template
    and `genai_config.json` lie beside the graph. The model is opened at the first answer.
    """

    source_apart = False
    """Whether a prompt is read as a source of its own, and not gone on from."""

    def __init__(self, folder: Path, *, threads: int = 0, device: Device = "cpu") -> None:
        self._open(folder, threads, device)
        config = read_config(folder)["model"]
        self.stop_ids = stop_ids(config["eos_token_id"])
        self.context_length = int(config["context_length"])

    def _open(self, folder: Path, threads: int, device: Device) -> None:
        from tokenizers import Tokenizer

        if not (folder / "tokenizer.json").is_file():
            raise ModelError(f"{folder} has no tokenizer.json", fix="run the export again")
        self.folder, self.threads, self.device = folder, threads, device
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    @cached_property
    def model(self) -> OrtLM:
        return OrtLM(self.folder, threads=self.threads, device=self.device)

    @cached_property
    def decodes_together(self) -> bool:
        """Whether rows of any lengths can take a step together without changing each other."""
        return decodes_together(self.model)

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
        """Return what the model is given: text as it is, messages through the chat template.

        Raises `ModelError` where nothing is left to start from, or the prompt fills the context.
        """
        if isinstance(prompt, str):
            ids = self._beginning(prompt)
        else:
            ids = self.encode(self.render(prompt), add_special_tokens=False)
        if not ids:
            raise ModelError("the prompt has no tokens", fix="give some text to start from")
        if len(ids) >= self.context_length:
            raise TooLongError(
                f"the prompt has {len(ids)} tokens, but the model's context of "
                f"{self.context_length} must hold it and the answer",
                fix="shorten the text",
            )
        return ids

    def _beginning(self, text: str) -> list[int]:
        """Encode a text to go on from: what a tokenizer puts behind a text would end it."""
        whole, bare = self.encode(text), self.encode(text, add_special_tokens=False)
        for start in range(len(whole) - len(bare) + 1):
            if whole[start : start + len(bare)] == bare:
                return whole[: start + len(bare)]
        return whole

    def fitting(self, prompt: Sequence[int], generation: Generation) -> Generation:
        """Return `generation` with no more new tokens than the model's context has room for."""
        room = self.context_length - len(prompt)
        return replace(generation, max_new_tokens=min(generation.max_new_tokens, room))

    def stream(self, prompt: str | Sequence[Message], **settings: Any) -> Iterator[int]:
        """Yield the answer's token ids one by one; `settings` are the fields of `Generation`."""
        ids = self.prompt_ids(prompt)
        return generate(self.model, ids, self.fitting(ids, Generation(**settings)), self.stop_ids)

    def speak(
        self, prompt: str | Sequence[Message], *, stop: Sequence[str] = (), **settings: Any
    ) -> Speech:
        """Begin an answer that is read piece by piece, up to a `stop` text (which is not given).

        Faults of prompt and settings are raised here, before the first piece.
        """
        ids = self.prompt_ids(prompt)
        how = self.fitting(ids, Generation(**settings))
        tokens = generate(self.model, ids, how, self.stop_ids)
        return Speech(len(ids), how.max_new_tokens, tokens, TextStream(self.decode, stop))

    def answer(
        self, prompt: str | Sequence[Message], *, stop: Sequence[str] = (), **settings: Any
    ) -> str:
        """Return the whole answer; `settings` are the fields of `Generation`."""
        return "".join(self.speak(prompt, stop=stop, **settings))

    def answers(
        self,
        prompts: Sequence[Sequence[int]],
        generation: Generation,
        *,
        stop: Sequence[str] = (),
        batch_size: int = 16,
    ) -> Iterator[tuple[int, str]]:
        """Yield (index, answer) of many prompts of token ids, together, as they come to their end.

        Raises `ModelError` where prompt and answer do not fit the context: `fitting` makes them.
        """
        ends = Stop(self.stop_ids, tuple(filter(None, stop)), self.decode)
        for index, ids in generate_batch(
            self.model, prompts, generation, ends, batch_size=batch_size
        ):
            yield index, cut(self.decode(ids), stop)

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


def stop_ids(found: int | list[int]) -> frozenset[int]:
    """Return the ids that end an answer, as a configuration names them."""
    return frozenset(found if isinstance(found, list) else [found])
