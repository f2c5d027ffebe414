"""Chat templates, rendered as transformers renders them but without it.

Only the clock differs: it stands still.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from components.contracts.errors import ModelError

Message = Mapping[str, Any]

TODAY = datetime(2024, 7, 26)
"""What `strftime_now` tells, in training and in use: the date that the templates which ask for it
fall back to. A model is asked as it was trained, and the same prompt gives the same ids on any day.
"""


@dataclass(frozen=True)
class Template:
    """A compiled chat template."""

    compiled: Any

    def render(self, messages: Sequence[Message], **values: Any) -> str:
        """Return the prompt; raise `ModelError` if the template refuses these messages."""
        from jinja2 import TemplateError

        try:
            return str(self.compiled.render(messages=messages, **values))
        except TemplateError as error:
            raise ModelError(
                f"the chat template refuses the messages: {error}",
                fix="check the roles and their order",
            ) from error


def compile_template(source: str) -> Template:
    """Compile a template; raise `ModelError` if it cannot be read."""
    from jinja2 import TemplateError

    environment = dialect(_now)
    try:
        return Template(environment.from_string(source))
    except TemplateError as error:
        raise ModelError(
            f"the chat template cannot be read: {error}", fix="mend the template of the base model"
        ) from error


def dialect(now: Callable[[str], str], marks: tuple[str, str] = ("", "")) -> Any:
    """Return the jinja2 environment that published templates are written for, in a sandbox.

    A template comes with a model and is not trusted. It gets trimmed blocks, loop controls, plain
    JSON, `raise_exception`, `strftime_now` (`now`) and the `generation` block, whose rendering
    stands between `marks`.
    """
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation_block(marks)]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = now
    return environment


def _generation_block(marks: tuple[str, str]) -> Any:
    """`{% generation %}…{% endgeneration %}` marks answers for training."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class GenerationBlock(Extension):
        tags = {"generation"}  # noqa: RUF012 (the parent declares it so)

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            opening, closing = (
                nodes.Output([nodes.TemplateData(mark)], lineno=line) for mark in marks
            )
            return nodes.Scope([opening, *body, closing], lineno=line)

    return GenerationBlock


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes for HTML; a prompt wants plain JSON."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _now(format: str) -> str:
    return TODAY.strftime(format)
