"""Templates of this room, filled."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.report.line import Page
from components.report.sections import build


def page_html(page: Page) -> str:
    """Return the page: one file that needs nothing else and runs nothing."""
    line = page.line
    values = {
        "sections": build(page),
        "training": line.adapter.facts,
        "verdict": line.verdict.facts,
    }
    return render("report.html.j2", values)


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template of this room; text from data is escaped in HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)
