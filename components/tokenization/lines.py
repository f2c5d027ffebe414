"""One row as token ids, before it becomes part of a table."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenizer import Tokens
from components.tokenization.words import Span

Ids = list[int]


@dataclass(slots=True)
class Line:
    """A row is `head` and `tail`; `tail` is trained unless `tail_parts` says which parts of it.

    `text` is the row's own text without template. `prompt_tokens` is the length of `head` for a
    conversation, 0 for plain text. `earlier` are the answers inside `head`, `parts` what is trained
    of them (token positions). `answers` counts the assistant's turns, `rewritten` those that cannot
    be trained. `targets` are labels of the row as a whole that are learned. `cut` are tokens left
    out, `needed` is the length with the longer of both answers.
    """

    head: Ids
    tail: Ids
    text: Ids = field(default_factory=list)
    prompt_tokens: int = 0
    answer: Ids = field(default_factory=list)
    rejected: Ids = field(default_factory=list)
    choices: Sequence[Ids] = ()
    earlier: Sequence[Span] = ()
    parts: Sequence[Span] = ()
    tail_parts: Sequence[Span] | None = None
    answers: int = 0
    rewritten: int = 0
    cut: int = 0
    needed: int = 0
    targets: int = 0


def text_line(text: Ids, tokens: Tokens, settings: TokenizationSettings) -> Line:
    """Return plain text between its beginning and its end, cut at its end if it has to be."""
    start = [tokens.bos] if tokens.adds_bos and tokens.bos is not None else []
    whole = [*start, *text, tokens.eos]
    ids = whole[: settings.max_length] if settings.truncation == "truncate_prompt" else whole
    # Nothing comes before the first token to predict it from.
    return Line(ids[:1], ids[1:], text, cut=len(whole) - len(ids), needed=len(ids))


def chat_line(line: Line, tokens: Tokens, settings: TokenizationSettings) -> Line:
    """Set what follows from prompt (`head`), `answer` and `rejected`; cut the prompt's front.

    The end of a prompt says that the answer comes next, so its front is cut, but for the
    beginning-of-sequence token of tokenizers that always put one. At least one token stays. Chosen
    and rejected answer keep the same prompt.
    """
    reply = max(len(line.answer), len(line.rejected))
    line.tail = line.answer
    room = max(1, settings.max_length - reply)
    if settings.truncation == "truncate_prompt" and len(line.head) > room:
        _cut_front(line, room, tokens)
    line.prompt_tokens = len(line.head)
    line.needed = len(line.head) + reply
    return line


def _cut_front(line: Line, room: int, tokens: Tokens) -> None:
    keep = tokens.adds_bos and line.head[0] == tokens.bos and room > 1
    start = line.head[:1] if keep else []
    line.cut = len(line.head) - room
    gone = line.cut + len(start)
    line.head = [*start, *line.head[gone:]]
    # An answer whose beginning is gone would be trained without what it answers.
    begins = max([gone, *(end for begin, end in line.earlier if begin < gone)])
    line.earlier = _moved(line.earlier, begins, line.cut)
    line.parts = _moved(line.parts, begins, line.cut)


def _moved(spans: Sequence[Span], begins: int, by: int) -> list[Span]:
    return [(a - by, b - by) for a, b in spans if a >= begins]
