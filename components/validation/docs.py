"""Great Expectations' Data Docs as pages that read offline and are the same bytes each time."""

import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Nothing is loaded and no script runs, whatever the texts in the data hold."""

STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:1.5rem auto;max-width:70rem;
padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0;max-width:100%}td,th{border:1px solid #ddd;
padding:.25rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
.alert{background:#f2f4f7;padding:.5rem .75rem;margin-top:1rem}h4,h5,h6{margin:.25rem 0}
.text-danger{color:#b00020}.text-success{color:#0a7d33}.fa-times::before{content:"\\2717"}
.fa-check-circle::before{content:"\\2713"}.text-warning::before{content:"!"}
.collapse,.card,.modal{display:none}code{background:#f2f4f7}
"""

CUT = (
    r"<script\b.*?</script>",
    r"<link\b[^>]*>",
    r"<style\b.*?</style>",
    r"<footer\b.*?</footer>",
    r"<nav\b.*?</nav>",
    r"<img\b[^>]*>",
)
"""Parts of Great Expectations' pages that load from the web or need what was loaded."""

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def write_docs(folder: Path, results: Sequence[Any], facts: dict[str, Any]) -> None:
    """Write a page a suite result and an index into `folder`."""
    folder.mkdir(parents=True)
    names = [result.suite_name for result in results]
    for name, result in zip(names, results, strict=True):
        (folder / f"{name}.html").write_text(_page(result), encoding="utf-8")
    (folder / "index.html").write_text(_index(names, results, facts), encoding="utf-8")


def _page(result: Any) -> str:
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    # What is left names neither a clock nor a run: the same data gives the same page.
    result.meta = {"great_expectations_version": result.meta["great_expectations_version"]}
    renderer: Any = ValidationResultsPageRenderer(run_info_at_end=True)
    view: Any = DefaultJinjaPageView()
    return offline(view.render(renderer.render(result)))


def offline(page: str) -> str:
    """Cut what loads from the web, name elements in order instead of at random, add our style."""
    for part in CUT:
        page = re.sub(part, "", page, flags=re.DOTALL | re.IGNORECASE)
    order: dict[str, str] = {}
    page = re.sub(UUID, lambda found: order.setdefault(found[0], f"part-{len(order) + 1}"), page)
    page = re.sub(r"\s*\n\s*", "\n", page)
    return page.replace("<head>", f"<head>{_head()}", 1)


def _index(names: Sequence[str], results: Sequence[Any], facts: dict[str, Any]) -> str:
    suites = [
        (
            Raw(f'<a href="{name}.html">{name}</a>'),
            "met" if result.success else "not all met",
            f"{result.statistics['successful_expectations']} of "
            f"{result.statistics['evaluated_expectations']}",
        )
        for name, result in zip(names, results, strict=True)
    ]
    count = facts["rows"]
    return (
        f"<!DOCTYPE html>\n<html><head>{_head()}<title>Data Docs</title></head><body>\n"
        f"<h1>Data Docs</h1>\n<p>{count['in']:,} rows in, {count['kept']:,} kept, "
        f"{count['quarantined']:,} quarantined.</p>\n"
        + _table(("suite", "result", "expectations met"), suites)
        + "<h2>Expectations</h2>\n"
        + _table(("expectation", "says", "severity", "result"), map(_line, facts["expectations"]))
        + _rows("Quarantined", facts["quarantined"], facts["quarantined_rows"])
        + _rows("Warnings", facts["warnings"], facts["warned_rows"])
        + _shape(facts)
        + "</body></html>\n"
    )


def _line(fact: dict[str, Any]) -> tuple[str, ...]:
    result = f"{fact['figure']:g}" if "figure" in fact else f"{fact['unmet']:,} rows"
    met = "met" if fact["success"] else f"not met: {result}"
    return fact["expectation"], fact["says"], fact["severity"], met


def _rows(title: str, counts: dict[str, int], rows: dict[str, list[dict[str, str]]]) -> str:
    """Return how many rows each expectation names, and the first of them."""
    lines = [
        (name if not number else "", f"{count:,}" if not number else "", *one.values())
        for name, count in counts.items()
        for number, one in enumerate(rows.get(name) or [{"row": "", "value": "", "text": ""}])
    ]
    head = ("expectation", "rows", "first rows", "found", "text")
    return f"<h2>{title}</h2>\n" + (_table(head, lines) if lines else "<p>None.</p>\n")


def _shape(facts: dict[str, Any]) -> str:
    """Return lengths, labels, cleaning and drift."""
    bars = [
        (f"{bar['from']:,} to {bar['to'] - 1:,}", f"{bar['rows']:,}")
        for bar in facts["length_histogram"]
    ]
    labels = [
        (split, name, f"{count:,}")
        for split, counts in facts["labels"].items()
        for name, count in counts.items()
    ]
    cleaned = [tuple(map(str, one.values())) for one in facts["cleaned"]["examples"]]
    drift = [(name, f"{figure:g}") for name, figure in facts["drift"].items()]
    parts: dict[str, tuple[Sequence[str], Sequence[Sequence[str]]]] = {
        "Lengths": (("characters", "rows"), bars),
        "Labels": (("split", "label", "rows"), labels),
        "Cleaned": (("row", "before", "after"), cleaned),
        "Drift from the last accepted data": (("figure", "value"), drift),
    }
    return "".join(f"<h2>{title}</h2>\n{_table(*part)}" for title, part in parts.items() if part[1])


class Raw(str):
    """Text that is HTML already."""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_cells("th", head), *(_cells("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>\n"


def _cells(tag: str, row: Sequence[str]) -> str:
    cells = (cell if isinstance(cell, Raw) else html.escape(cell) for cell in row)
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>\n"


def _head() -> str:
    return (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<style>{STYLE}</style>"
    )
