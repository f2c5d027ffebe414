"""`tuneline generate` and `tuneline chat`: a model's answers at the terminal, as they come."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from components.contracts.errors import ModelError, RecipeError
from flows.environment import find_root, prepare

if TYPE_CHECKING:
    from components.runtime.stream import Speech
    from components.runtime.text import TextModel
    from flows.model_ref import Found

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="NAME@champion, NAME@VERSION, models:/NAME/VERSION, or a folder of exported files.",
    ),
]
MaxNewTokens = Annotated[int, typer.Option(help="Tokens of an answer at most.")]
Temperature = Annotated[float, typer.Option(help="0 takes the likeliest token each time.")]
TopK = Annotated[int, typer.Option(help="Choose among this many likeliest tokens; 0: all.")]
TopP = Annotated[float, typer.Option(help="Choose among the likeliest that have this share.")]
Penalty = Annotated[float, typer.Option(help="Above 1: tokens seen before become less likely.")]
Stop = Annotated[
    list[str] | None, typer.Option(help="A text that ends the answer (repeatable; not shown).")
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same answer.")]
System = Annotated[
    str | None, typer.Option(help="Another system prompt than the one that was trained.")
]
DeviceOption = Annotated[
    Literal["cpu", "cuda"] | None,
    typer.Option(help="Where to run it, if not where it was made for."),
]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0: all of this process.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def generate(
    model: Model,
    text: Annotated[
        str | None, typer.Argument(help="What to answer; without it, standard input is read.")
    ] = None,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    repetition_penalty: Penalty = 1.0,
    stop: Stop = None,
    seed: Seed = 0,
    system: System = None,
    device: DeviceOption = None,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Answer one text, put to the model as it was trained, and end."""
    settings: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "seed": seed,
    }
    asked = text if text not in (None, "-") else read_input()
    found, opened = open_model(model, device, threads)
    stops = [unescaped(one) for one in stop or []]
    speech = opened.speak(found.shape.ask(str(asked), system=system), stop=stops, **settings)
    if as_json:
        answer = "".join(speech)
        print(json.dumps(told(found, speech, answer, {**settings, "stop": stops}), indent=2))
        return
    say(speech)


def chat(
    model: Model,
    max_new_tokens: MaxNewTokens = 512,
    temperature: Temperature = 0.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    repetition_penalty: Penalty = 1.0,
    stop: Stop = None,
    seed: Seed = 0,
    system: System = None,
    history: Annotated[
        bool | None,
        typer.Option(
            "--history/--no-history",
            help="Whether earlier turns stand before a question; if not said, as it was trained.",
        ),
    ] = None,
    device: DeviceOption = None,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Talk with a model: one line, one answer. /help tells the commands, Ctrl-D ends."""
    from flows.talk_session import Session, converse

    settings: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "repetition_penalty": repetition_penalty,
        "seed": seed,
        "stop": [unescaped(one) for one in stop or []],
    }
    found, opened = open_model(model, device, threads)
    keeps = not (found.shape.single_turn or found.shape.plain)
    if history and found.shape.plain:
        raise ModelError(
            f"{found.title} was trained on plain text: it knows no earlier turns",
            fix="leave --history out",
        )
    session = Session(found, opened, settings, system, keeps if history is None else history)
    converse(session, as_json=as_json)


def open_model(
    text: str, device: Literal["cpu", "cuda"] | None, threads: int
) -> "tuple[Found, TextModel]":
    """Return the model that `text` names and its opened files."""
    from components.runtime.served import open_text
    from flows.model_ref import find_model

    found = find_model(project(), text, device=device)
    opened = open_text(found.folder, threads=threads, device=found.device)
    _ = opened.model  # a fault of the files is told before anything is asked
    return found, opened


def project() -> Path | None:
    """Return the project around the working directory, ready for use, or None."""
    try:
        root = find_root(Path.cwd())
    except RecipeError:
        return None
    prepare(root)
    return root


def read_input() -> str:
    """Return all of standard input; raise `ModelError` where a person would have to type it."""
    if sys.stdin.isatty():
        raise ModelError(
            "there is no text to answer",
            fix='write it behind the model: tuneline generate MODEL "TEXT", or pipe it in',
        )
    return sys.stdin.read().removesuffix("\n")


def say(speech: "Speech") -> None:
    """Write an answer to standard output as it comes."""
    for piece in speech:
        print(piece, end="", flush=True)
    print()


def told(found: "Found", speech: "Speech", answer: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with all that made it, as JSON values."""
    return {
        "model": found.name,
        "version": found.version or None,
        "device": found.device,
        "answer": answer,
        "finish_reason": speech.finish,
        "usage": {"prompt_tokens": speech.prompt_tokens, "completion_tokens": speech.tokens},
        "settings": settings,
    }


def unescaped(text: str) -> str:
    r"""Return a stop text with `\n` and `\t` as a shell's user means them."""
    return text.replace("\\n", "\n").replace("\\t", "\t")
