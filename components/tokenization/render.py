"""A conversation as strings: the prompt as inference will see it, and the answer after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.contracts.errors import ModelError
from components.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True)
class Rendered:
    """`prompt` ends where the answer begins. `lead` and `tail` are what the template puts around
    an answer, `tail` ending with the end-of-sequence token `stop`: what comes later, such as the
    newline of ChatML, is neither trained nor kept.
    """

    prompt: str
    lead: str
    content: str
    tail: str
    stop: str

    @property
    def answer(self) -> str:
        return f"{self.lead}{self.content}{self.tail}"

    def choice(self, word: str) -> str:
        """Return another answer in the same place, without its end-of-sequence token."""
        return f"{self.lead}{word}{self.tail.removesuffix(self.stop)}"


def render(tokenizer: Tokenizer, messages: Sequence[Any]) -> Rendered:
    """Split the rendering of `messages` before its last turn, the answer.

    Raises `ModelError` when there is no chat template, or when the template writes the beginning
    of a conversation differently once the answer is there.
    """
    prompt = _apply(tokenizer, messages[:-1], add_generation_prompt=True)
    whole = _apply(tokenizer, messages, add_generation_prompt=False)
    if not whole.startswith(prompt):
        raise ModelError(
            "the base model's chat template writes a prompt differently when the answer follows, "
            "so training and inference would not see the same prompt",
            fix=f"mend the chat template; prompt ends with {prompt[-60:]!r}",
        )
    content, lead, after = _around(tokenizer, messages[-1]["content"], whole[len(prompt) :])
    tail, stop = _until_stop(tokenizer, after)
    return Rendered(prompt, lead, content, tail, stop)


def _apply(tokenizer: Tokenizer, messages: Sequence[Any], *, add_generation_prompt: bool) -> str:
    from jinja2 import TemplateError

    if not tokenizer.hf.chat_template:
        raise ModelError(
            "the base model's tokenizer has no chat template",
            fix="take an instruct model, or format.kind: text",
        )
    try:
        return str(
            tokenizer.hf.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
            )
        )
    except TemplateError as error:
        raise ModelError(f"the chat template refuses this conversation: {error}") from error


def _around(tokenizer: Tokenizer, content: str, rest: str) -> tuple[str, str, str]:
    """Return the answer as the template wrote it, and what stands before and after it.

    Many templates strip an answer. A short one may also occur in what the template adds, so the
    place before an end-of-sequence token is preferred.
    """
    stops = tuple(map(tokenizer.token, tokenizer.tokens.stop))
    for wanted in dict.fromkeys((content, content.strip())):
        places = [i for i in range(len(rest) + 1) if rest.startswith(wanted, i)]
        before_stop = [i for i in places if rest[i + len(wanted) :].lstrip().startswith(stops)]
        for place in (before_stop or places)[:1]:
            return wanted, rest[:place], rest[place + len(wanted) :]
    raise ModelError(
        f"the chat template does not write the answer {content[:60]!r} as it is",
        fix=f"mend the chat template; it wrote {rest[:60]!r}",
    )


def _until_stop(tokenizer: Tokenizer, after: str) -> tuple[str, str]:
    """Cut after the first token that ends an answer; add one if the template writes none."""
    found = [
        (place, token)
        for token in map(tokenizer.token, tokenizer.tokens.stop)
        if (place := after.find(token)) >= 0
    ]
    if not found:
        eos = tokenizer.token(tokenizer.tokens.eos)
        return eos, eos
    place, token = min(found)
    return after[: place + len(token)], token
