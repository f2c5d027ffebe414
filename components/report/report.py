"""What people read: one page, the samples and the model card, made of the facts of every step."""

import json
from pathlib import Path

from components.contracts.events import Context
from components.contracts.kinds import (
    Adapter,
    Dataset,
    Evaluation,
    Onnx,
    Raw,
    Report,
    Tokens,
    Verdict,
    Verification,
)
from components.report.figures import model_rows
from components.report.line import Line, Page
from components.report.render import page_html, render
from components.report.samples import pick_samples
from components.report.settings import ReportSettings
from components.report.tables import write_tables


def report(
    raw: Raw,
    dataset: Dataset,
    tokens: Tokens,
    adapter: Adapter,
    evaluation: Evaluation,
    onnx: Onnx,
    verification: Verification,
    verdict: Verdict,
    settings: ReportSettings,
    *,
    out: Path,
    context: Context,
    judged: Path | None = None,
) -> Report:
    """Write `report.html` (self-contained), `samples.jsonl`, `model_card.md` and `plots/*.csv`.

    `judged` is the folder of what people said of the answers, where they were asked. Measured
    speeds are no part of an artefact: `tuneline report` makes the same page with them.
    """
    line = Line(raw, dataset, tokens, adapter, evaluation, onnx, verification, verdict)
    page = Page(line, settings, judged=judged)
    samples = pick_samples(line, settings.samples)
    with Report.write(out) as draft:
        (draft.folder / "report.html").write_text(page_html(page), encoding="utf-8")
        (draft.folder / "model_card.md").write_text(card(page), encoding="utf-8")
        lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples]
        (draft.folder / "samples.jsonl").write_text("".join(lines), encoding="utf-8")
        write_tables(draft.folder / "plots", page)
        draft.facts = {"samples": len(samples)}
    return Report.open(out)


def card(page: Page) -> str:
    """Return the model card."""
    line = page.line
    values = {
        "line": line,
        "models": model_rows(page),
        "training": line.adapter.facts,
        "verdict": line.verdict.facts,
        "hashes": {name: artefact.digest for name, artefact in line.artefacts.items()},
    }
    return render("model_card.md.j2", values)
