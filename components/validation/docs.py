"""Great Expectations' Data Docs as pages that read offline and are the same bytes each time."""

import html
import re
from collections.abc import Sequence
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
    rows = "".join(
        f'<tr><td><a href="{name}.html">{name}</a></td>'
        f"<td>{'met' if result.success else 'not all met'}</td>"
        f"<td>{result.statistics['successful_expectations']} of "
        f"{result.statistics['evaluated_expectations']}</td></tr>"
        for name, result in zip(names, results, strict=True)
    )
    taken = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{count:,}</td></tr>"
        for name, count in facts["quarantined"].items()
    )
    count = facts["rows"]
    return (
        f"<!DOCTYPE html>\n<html><head>{_head()}<title>Data Docs</title></head><body>\n"
        f"<h1>Data Docs</h1>\n<p>{count['in']:,} rows in, {count['kept']:,} kept, "
        f"{count['quarantined']:,} quarantined.</p>\n"
        f"<table><tr><th>suite</th><th>result</th><th>expectations met</th></tr>{rows}</table>\n"
        f"<h2>Quarantined</h2>\n<table><tr><th>expectation</th><th>rows</th></tr>{taken}</table>\n"
        "</body></html>\n"
    )


def _head() -> str:
    return (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<style>{STYLE}</style>"
    )
