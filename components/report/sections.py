"""The sections of the page, in order: each has a template of its own and leaves itself out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.report.asked import champion, guards, tasks
from components.report.bias import bias
from components.report.figures import confusion, curve, models, quality, slices, speed
from components.report.judged import judged_rows
from components.report.line import Page
from components.report.samples import before_and_after

Built = dict[str, Any] | None


@dataclass(frozen=True)
class Section:
    """`build` returns what `sections/NAME.html.j2` shows, or None where there is nothing."""

    name: str
    title: str
    build: Callable[[Page], Built]


def verdict(page: Page) -> Built:
    return dict(page.line.verdict.facts)


def data(page: Page) -> Built:
    facts = page.line.raw.facts
    return {**page.line.dataset.facts, "raw": facts, "tokens": page.line.tokens.facts}


def lineage(page: Page) -> Built:
    """Return every artefact with the SHA-256 of all its bytes and what it came from."""
    line = page.line
    said = {
        "raw": f"{line.raw.facts.get('name', 'local files')}, "
        f"licence {line.raw.facts.get('license') or 'not stated'}",
        "adapter": f"of {line.adapter.facts['base']}",
        "onnx": ", ".join(
            f"{name} {version}" for name, version in line.onnx.facts.get("versions", {}).items()
        ),
    }
    rows = [
        {"name": name, "digest": one.digest, "files": len(one.files), "said": said.get(name, "")}
        for name, one in line.artefacts.items()
    ]
    return {"rows": rows}


def judged(page: Page) -> Built:
    """Return what people said, where they were asked."""
    rows = judged_rows(page.judged, page.line.artefacts)
    return {"rows": rows} if rows else None


SECTIONS: tuple[Section, ...] = (
    Section("verdict", "Verdict", verdict),
    Section("models", "Every model on the same items", models),
    Section("curve", "Training", curve),
    Section("quality", "Quality, size and speed", quality),
    Section("speed", "Speed", speed),
    Section("confusion", "Where the shipped file errs", confusion),
    Section("slices", "By slice", slices),
    Section("tasks", "Tasks", tasks),
    Section("guards", "Did anything else get worse?", guards),
    Section("champion", "Against the champion", champion),
    Section("judged", "What people prefer", judged),
    Section("bias", "Swapped identities", bias),
    Section("samples", "Before and after", before_and_after),
    Section("data", "Data", data),
    Section("lineage", "Made from", lineage),
)


def build(page: Page) -> list[dict[str, Any]]:
    """Return every section that has something to show: name, title and what it shows."""
    built = [(section, section.build(page)) for section in SECTIONS]
    return [
        {"name": section.name, "title": section.title, "has": has}
        for section, has in built
        if has is not None
    ]
