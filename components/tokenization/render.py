"""A conversation as strings: the prompt as inference will see it, and the answer after it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.contracts.errors import ModelError
from components.tokenization.template import PLAIN, Messages, Span
from components.tokenization.tokenizer import Tokenizer

THOUGHT = "</think>"

APART = {"tool_calls", "reasoning_content"}
"""Keys of a turn that a template writes in its own way beside the content."""


@dataclass(frozen=True)
class Answer:
    """`lead` and `tail` are what the template puts around an answer, `tail` ending with the
    end-of-sequence token `stop`: what comes later, such as the newline of ChatML, is neither
    trained nor kept. `written` says whether the template writes that token itself.
    """

    lead: str
    content: str
    tail: str
    stop: str
    written: bool

    @property
    def text(self) -> str:
        return f"{self.lead}{self.content}{self.tail}"

    def choice(self, word: str) -> str:
        """Return another answer in the same place, without its end-of-sequence token."""
        return f"{self.lead}{word}{self.tail.removesuffix(self.stop)}"


@dataclass(frozen=True)
class Rendered:
    """`prompt` ends where the last answer begins.

    `earlier` are the stretches of `prompt` that hold the earlier answers, each with its end, as
    the model would have been asked for them; `rewritten` counts those that it would not have been
    asked for like this. Where the template marks by `{% generation %}` what is to be trained,
    `earlier_marked` and `answer_marked` are these parts of `earlier` and of the answer, else None.
    """

    prompt: str
    answer: Answer
    earlier: tuple[Span, ...] = ()
    rewritten: int = 0
    earlier_marked: tuple[Span, ...] | None = None
    answer_marked: tuple[Span, ...] | None = None


def render(
    tokenizer: Tokenizer, messages: Messages, *, earlier: bool = False, marks: bool = False
) -> Rendered:
    """Split the rendering of `messages` before its last turn, the answer.

    With `earlier` the other answers are looked for too; with `marks` the template's own
    generation blocks narrow what is trained. Raises `ModelError` when there is no chat template,
    when it writes the prompt differently once the answer is there, or changes an answer.
    """
    template = tokenizer.chat
    prompt = template.render(messages[:-1], generation_prompt=True)
    whole = template.render(messages, generation_prompt=False)
    if any(len(message) > len(PLAIN) for message in messages):
        need_written(messages, whole, whole[len(prompt) :])
    answer = _answer(tokenizer, messages[-1], prompt, whole)
    if answer is None:
        raise ModelError(
            "the base model's chat template writes a prompt differently when the answer follows, "
            "so training and inference would not see the same prompt",
            fix=f"mend the chat template; prompt ends with {prompt[-60:]!r}",
        )
    rendered = Rendered(prompt, answer)
    if earlier and len(messages) > 2:
        rendered = _with_earlier(tokenizer, messages, rendered)
    if marks and tokenizer.chat.marks_answers:
        rendered = _narrowed(tokenizer, messages, rendered)
    return rendered


def _answer(
    tokenizer: Tokenizer, message: Mapping[str, Any], prompt: str, whole: str
) -> Answer | None:
    """Return the answer behind `prompt`, or None when `whole` does not begin with `prompt`."""
    if not whole.startswith(prompt):
        return None
    rest = whole[len(prompt) :]
    if message.keys() & APART:
        return _as_written(tokenizer, rest)
    content, lead, after = _around(tokenizer, message["content"], rest)
    return _until_stop(tokenizer, content, lead, after)


def _as_written(tokenizer: Tokenizer, rest: str) -> Answer:
    """Return an answer whose parts the template puts together: all that stands before its end."""
    answer = _until_stop(tokenizer, "", "", rest)
    return answer if answer.written else replace(answer, content=rest)


def need_written(messages: Messages, whole: str, rest: str) -> None:
    """Raise `ModelError` if the template leaves a tool, a call or the last thought out of `whole`.

    `rest` is the part of `whole` behind the prompt.
    """
    tools = [tool["function"]["name"] for tool in messages[0].get("tools", ())]
    calls = [c["function"]["name"] for turn in messages for c in turn.get("tool_calls", ())]
    thought = str(messages[-1].get("reasoning_content", "")).strip()
    lost = {f"the tool '{name}'": name not in whole for name in tools}
    lost |= {f"the call of '{name}'": name not in whole for name in calls}
    lost["the reasoning_content of the last turn"] = thought not in rest
    for what, gone in lost.items():
        if gone:
            raise ModelError(
                f"the base model's chat template leaves out {what}",
                fix="take a base model whose template writes it, or leave such rows out",
            )


def _with_earlier(tokenizer: Tokenizer, messages: Messages, rendered: Rendered) -> Rendered:
    """Find the earlier answers: an answer counts only if the conversation that ends with it is
    written like the beginning of this one, end-of-sequence token included.
    """
    template, prompt = tokenizer.chat, rendered.prompt
    spans, rewritten = [], 0
    for turn, message in enumerate(messages[:-1]):
        if message["role"] != "assistant" or message.get("weight") == 0:
            continue
        span = None
        if turn:  # nobody asks for an answer to nothing
            before = template.render(messages[:turn], generation_prompt=True)
            upto = template.render(messages[: turn + 1], generation_prompt=False)
            answer = _answer(tokenizer, message, before, upto)
            if answer is not None and answer.written and prompt.startswith(before + answer.text):
                span = len(before), len(before) + len(answer.text)
        if span is None:
            rewritten += 1
        else:
            spans.append(span)
    return replace(rendered, earlier=tuple(spans), rewritten=rewritten)


def _narrowed(tokenizer: Tokenizer, messages: Messages, rendered: Rendered) -> Rendered:
    """Keep of each answer what the template marks as generated, and the end right behind it."""
    whole, marked = tokenizer.chat.render_marked(messages)
    stops = [tokenizer.token(stop) for stop in tokenizer.tokens.stop]
    earlier = [part for span in rendered.earlier for part in _inside(span, marked, whole, stops)]
    start = len(rendered.prompt)
    text = rendered.prompt + rendered.answer.text
    last = _inside((start, len(text)), marked, text, stops)
    parts = tuple((a - start, b - start) for a, b in last)
    return replace(rendered, earlier_marked=tuple(earlier), answer_marked=parts)


def _inside(span: Span, marked: Sequence[Span], text: str, stops: Sequence[str]) -> list[Span]:
    start, end = span
    parts = [(max(start, a), min(end, b)) for a, b in marked if a < end and b > start]
    if parts and text[parts[-1][1] : end] in stops:
        parts[-1] = parts[-1][0], end
    return parts


def _around(tokenizer: Tokenizer, content: str, rest: str) -> tuple[str, str, str]:
    """Return the answer as the template wrote it, and what stands before and after it.

    Many templates strip an answer, some lay out the thought before it anew. A short one may also
    occur in what the template adds, so the place before an end-of-sequence token is preferred.
    """
    stops = tuple(map(tokenizer.token, tokenizer.tokens.stop))
    thought, _, said = content.rpartition(THOUGHT)
    thought = thought.rpartition("<think>")[2].strip()
    for wanted in dict.fromkeys((content, content.strip(), said.lstrip("\n"), said.strip())):
        place = rest.find(wanted)
        while place >= 0 and not rest[place + len(wanted) :].lstrip().startswith(stops):
            place = rest.find(wanted, place + 1)
        place = rest.find(wanted) if place < 0 else place
        if place >= 0 and thought in rest:
            return wanted, rest[:place], rest[place + len(wanted) :]
    raise ModelError(
        f"the chat template does not write the answer {content[:60]!r} as it is",
        fix=f"mend the chat template; it wrote {rest[:60]!r}",
    )


def _until_stop(tokenizer: Tokenizer, content: str, lead: str, after: str) -> Answer:
    """Cut after the first token that ends an answer; add one if the template writes none."""
    found = [
        (place, token)
        for token in map(tokenizer.token, tokenizer.tokens.stop)
        if (place := after.find(token)) >= 0
    ]
    if not found:
        eos = tokenizer.token(tokenizer.tokens.eos)
        return Answer(lead, content, eos, eos, written=False)
    place, token = min(found)
    return Answer(lead, content, after[: place + len(token)], token, written=True)
