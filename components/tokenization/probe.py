"""What a chat template does with contents it never looks at, found out once a shape.

A template is rendered with probes in the place of contents: strings that note every question the
template asks of them and refuse whatever is neither a question, nor joining, nor stripping. When
that goes through, the text is literal pieces with contents between them, for every conversation of
the same roles whose contents answer the questions alike. Otherwise there is no shape, and each
conversation is rendered by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FIRST, LAST = 0xF0000, 0xFFFFD
"""Private code points: each stands for one content, with what was stripped from it."""

Strips = tuple[tuple[str, str | None], ...]
"""str methods (`strip`, `lstrip`, `rstrip`) in order, each with the characters it takes."""

PLAIN_FILTERS = frozenset({"trim", "string", "default", "d", "length", "count", "list"})
"""Filters that hand a probe on as it is, or ask it something in a way that it notices."""


class NotPlainError(Exception):
    """The template does something with a content that cannot be foreseen."""


@dataclass(frozen=True)
class Question:
    """What a template asked of a content, and the answer that the probe gave."""

    turn: int
    strips: Strips
    kind: str
    argument: Any
    answer: bool


QUESTIONS: dict[str, Callable[[str, Any], bool]] = {
    "holds": lambda text, part: part in text,
    "startswith": lambda text, part: text.startswith(part),
    "endswith": lambda text, part: text.endswith(part),
    "equals": lambda text, other: text == other,
    "is_there": lambda text, _: text != "",
}


@dataclass
class Notes:
    """What the probes of one rendering stand for, and what they were asked."""

    holes: list[tuple[int, Strips]] = field(default_factory=list)
    questions: dict[Question, None] = field(default_factory=dict)

    def hole(self, turn: int, strips: Strips) -> str:
        """Return the character that stands for a content."""
        if (turn, strips) not in self.holes:
            self.holes.append((turn, strips))
        place = FIRST + self.holes.index((turn, strips))
        if place > LAST:
            raise NotPlainError
        return chr(place)

    def ask(self, probe: str, kind: str, argument: Any, answer: bool) -> bool:
        """Note a question to a whole content; joined texts are not foreseen."""
        if str.__len__(probe) != 1 or not is_hole(probe):
            raise NotPlainError
        turn, strips = self.holes[ord(probe) - FIRST]
        self.questions[Question(turn, strips, kind, argument, answer)] = None
        return answer


@dataclass(frozen=True)
class Shape:
    """Pieces of text, every second one to be filled, if the questions are answered alike."""

    pieces: tuple[str, ...]
    holes: tuple[tuple[int, Strips], ...]
    questions: tuple[Question, ...]

    def fill(self, messages: Sequence[Mapping[str, Any]]) -> str | None:
        """Return the rendering of `messages`, or None where it cannot be foreseen."""
        for question in self.questions:
            text = strip(messages[question.turn]["content"], question.strips)
            if QUESTIONS[question.kind](text, question.argument) != question.answer:
                return None
        pieces = list(self.pieces)
        pieces[1::2] = [strip(messages[turn]["content"], strips) for turn, strips in self.holes]
        return "".join(pieces)


def strip(text: str, strips: Strips) -> str:
    """Return `text` after some strips."""
    for method, characters in strips:
        text = getattr(text, method)(characters)
    return text


def is_hole(character: str) -> bool:
    return FIRST <= ord(str.__str__(character)) <= LAST


def find_shape(probing: Any, roles: Sequence[str], values: Mapping[str, Any]) -> Shape | None:
    """Render probes for the contents of `roles`; return None where that fails.

    `probing` is what `compile_probing` gave.
    """
    from jinja2 import TemplateError

    notes = Notes()
    probe = probe_class(notes)
    messages = [
        {"role": role, "content": probe(notes.hole(turn, ()))} for turn, role in enumerate(roles)
    ]
    try:
        text = probing.render(messages=messages, **values)
    except (NotPlainError, TemplateError, TypeError):
        return None  # the plain way will say what is wrong, if anything is
    pieces, holes = [""], []
    for character in text:
        if is_hole(character):
            holes.append(notes.holes[ord(character) - FIRST])
            pieces += ["", ""]
        else:
            pieces[-1] += character
    return Shape(tuple(pieces), tuple(holes), tuple(notes.questions))


def compile_probing(environment: Any, source: str) -> Any | None:
    """Compile `source` so that nothing takes the note-taking off a probe unseen.

    Returns None for a template that does so.
    """
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    class Joined(NodeTransformer):
        """`a ~ b` joins below Python, where a probe sees nothing; `a + b` does not."""

        def visit_Concat(self, node: Any) -> Any:  # noqa: N802 (jinja names it)
            first, *rest = map(self.visit, node.nodes)
            for other in rest:
                first = nodes.Add(first, other, lineno=node.lineno)
            return first

    tree = environment.parse(source)
    hidden = (nodes.Macro, nodes.CallBlock, nodes.AssignBlock, nodes.FilterBlock)
    suspects = [*tree.find_all(nodes.Compare), *tree.find_all(nodes.Mod)]
    if any(map(is_hole, source)) or tree.find(hidden) or any(map(_hides, suspects)):
        return None
    own = environment.overlay()
    own.filters = {name: _guarded(name, filter) for name, filter in own.filters.items()}
    return own.from_string(Joined().visit(tree))


def _hides(node: Any) -> bool:
    """Say whether a probe might not see this: a search in a literal text, or `%` as formatting."""
    from jinja2 import nodes

    if isinstance(node, nodes.Mod):
        return not (isinstance(node.right, nodes.Const) and isinstance(node.right.value, int))
    return any(op.op in ("in", "notin") and isinstance(op.expr, nodes.Const) for op in node.ops)


def _guarded(name: str, filter: Callable[..., Any]) -> Callable[..., Any]:
    from functools import wraps

    if name in PLAIN_FILTERS:
        return filter

    @wraps(filter)
    def guarded(*arguments: Any, **named: Any) -> Any:
        if any(getattr(one, "is_probe", False) for one in (*arguments, *named.values())):
            raise NotPlainError
        return filter(*arguments, **named)

    return guarded


def probe_class(notes: Notes) -> type[str]:
    """Return a kind of string that tells `notes` what it is asked."""

    class Probe(str):
        __slots__ = ()
        is_probe = True

        def __str__(self) -> str:
            return self

        def __add__(self, other: str) -> str:
            return Probe(str.__add__(self, other))

        def __radd__(self, other: str) -> str:
            return Probe(str.__add__(other, self))

        def __contains__(self, part: object) -> bool:
            return notes.ask(self, "holds", part, False)

        def __bool__(self) -> bool:
            return notes.ask(self, "is_there", None, True)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, str) and notes.ask(self, "equals", other, False)

        def __ne__(self, other: object) -> bool:
            return not self.__eq__(other)

        def startswith(self, *part: Any) -> bool:
            return notes.ask(self, "startswith", _only(part), False)

        def endswith(self, *part: Any) -> bool:
            return notes.ask(self, "endswith", _only(part), False)

        def strip(self, characters: str | None = None) -> str:
            if str.__len__(self) == 1 and is_hole(self):
                return Probe(_stripped(notes, self, "strip", characters, alone=True))
            return self.lstrip(characters).rstrip(characters)

        def lstrip(self, characters: str | None = None) -> str:
            text = str.lstrip(self, characters)
            return Probe(_edge(notes, text, "lstrip", characters, 0))

        def rstrip(self, characters: str | None = None) -> str:
            text = str.rstrip(self, characters)
            return Probe(_edge(notes, text, "rstrip", characters, -1))

    for name in dir(str):
        if name not in vars(Probe) and (not name.startswith("__") or name in UNFORESEEN):
            setattr(Probe, name, _refuse)
    return Probe


UNFORESEEN = (
    "__format__",
    "__ge__",
    "__getitem__",
    "__gt__",
    "__hash__",
    "__iter__",
    "__le__",
    "__len__",
    "__lt__",
    "__mod__",
    "__mul__",
    "__repr__",
    "__rmod__",
    "__rmul__",
)


def _refuse(*_: Any, **__: Any) -> Any:
    raise NotPlainError


def _only(arguments: tuple[Any, ...]) -> Any:
    if len(arguments) != 1 or not isinstance(arguments[0], str):
        raise NotPlainError
    return arguments[0]


def _edge(notes: Notes, text: str, method: str, characters: str | None, place: int) -> str:
    """Strip on at a content that stands at the edge of a text, if one does."""
    if not str.__len__(text) or not is_hole(str.__getitem__(text, place)):
        return text
    alone = str.__len__(text) == 1
    hole = _stripped(notes, str.__getitem__(text, place), method, characters, alone=alone)
    rest = str.__getitem__(text, slice(1, None) if place == 0 else slice(None, -1))
    return hole + rest if place == 0 else rest + hole


def _stripped(notes: Notes, hole: str, method: str, characters: str | None, *, alone: bool) -> str:
    """Return the hole for a stripped content; joined to others, it must not vanish by that."""
    turn, strips = notes.holes[ord(str.__str__(hole)) - FIRST]
    new = notes.hole(turn, (*strips, (method, characters)))
    if not alone:
        notes.ask(new, "is_there", None, True)
    return new
