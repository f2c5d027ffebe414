"""The conversation of `tuneline chat`: lines in, answers out, and a few commands."""

import json
import sys
from dataclasses import dataclass, field
from typing import Any

from components.contracts.errors import ModelError, TunelineError, did_you_mean
from components.runtime.text import TextModel
from flows.model_ref import Found
from flows.talk import told

HELP = """\
/reset            forget the earlier turns
/system [TEXT]    another system prompt; without TEXT, the trained one
/set NAME VALUE   temperature, top_k, top_p, repetition_penalty, seed, max_new_tokens
/show             the settings
/exit             end (so does Ctrl-D; Ctrl-C ends an answer)"""

KINDS: dict[str, type[int] | type[float]] = {
    "max_new_tokens": int,
    "repetition_penalty": float,
    "seed": int,
    "temperature": float,
    "top_k": int,
    "top_p": float,
}


@dataclass
class Session:
    """A model and what has been said; `keeps` says whether turns stand before the next one."""

    found: Found
    model: TextModel
    settings: dict[str, Any]
    system: str | None
    keeps: bool
    turns: list[dict[str, str]] = field(default_factory=list)

    def prompt(self, text: str) -> Any:
        """Return the prompt of the next question, earlier turns before it."""
        question = {"role": "user", "content": text}
        return self.found.shape.turns([*self.turns, question], system=self.system)

    def remember(self, text: str, answer: str) -> None:
        """Keep one question with its answer, where this model keeps any."""
        if self.keeps:
            self.turns.append({"role": "user", "content": text})
            self.turns.append({"role": "assistant", "content": answer})

    def command(self, line: str) -> str:
        """Do what a line with a `/` asks for and return what to show.

        Raises `EOFError` to end, `ModelError` for what is not known.
        """
        name, _, rest = line[1:].partition(" ")
        match name:
            case "help":
                return HELP
            case "exit" | "quit":
                raise EOFError
            case "reset":
                self.turns.clear()
                return "forgotten"
            case "system":
                self.system = rest or None
                self.turns.clear()
                return "a new conversation begins"
            case "set":
                return self._set(*rest.partition(" ")[::2])
            case "show":
                return "\n".join(f"{key} {value}" for key, value in self.settings.items())
        known = ["help", "exit", "reset", "system", "set", "show"]
        raise ModelError(f"/{name} is no command{did_you_mean(name, known)}", fix="/help")

    def _set(self, name: str, value: str) -> str:
        from components.runtime.generate import Generation

        if name not in KINDS:
            raise ModelError(
                f"'{name}' is no setting{did_you_mean(name, KINDS)}",
                fix=f"one of {', '.join(KINDS)}",
            )
        try:
            number: Any = KINDS[name](value)
        except ValueError:
            raise ModelError(f"{name}: '{value}' is no number", fix=f"/set {name} 1") from None
        Generation(**{name: number})
        self.settings[name] = number
        return f"{name} is {number}"


def converse(session: Session, *, as_json: bool) -> None:
    """Read lines until there are no more; a fault of one line is told and the talk goes on.

    Where no person types, every line of standard input is a question; the first fault ends it.
    """
    person = sys.stdin.isatty()
    if person:
        print(f"{session.found.title} ({session.found.device}). /help tells the commands.")
    while True:
        try:
            line = input("> " if person else "")
            if not line.strip():
                continue
            if line.startswith("/"):
                # Where no person types, standard output holds answers only.
                print(session.command(line), file=sys.stdout if person else sys.stderr)
                continue
            _answer(session, line, as_json=as_json)
        except EOFError:
            if person:
                print()
            return
        except TunelineError as error:
            if not person:
                raise
            print(f"error: {error}")
        except KeyboardInterrupt:
            print("\n(Ctrl-D ends)")


def _answer(session: Session, line: str, *, as_json: bool) -> None:
    """Answer one line; an answer that Ctrl-C ends counts as far as it came."""
    speech = session.model.speak(session.prompt(line), **session.settings)
    said = ""
    try:
        for piece in speech:
            said += piece
            if not as_json:
                print(piece, end="", flush=True)
    except KeyboardInterrupt:
        print(" …", end="")
    if as_json:
        print(json.dumps(told(session.found, speech, said, session.settings)), flush=True)
    else:
        print(flush=True)
    session.remember(line, said)
