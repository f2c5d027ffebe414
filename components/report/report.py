"""What people read: one page, the samples and the model card, made of the facts of every step."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.artefacts import Artefact
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
from components.report import plots
from components.report.judged import judged_rows
from components.report.settings import ReportSettings
from components.scoring.items import Score
from components.scoring.metrics import text_metrics
from components.scoring.tables import read_scores


@dataclass(frozen=True)
class Line:
    """Every artefact of one run."""

    raw: Raw
    dataset: Dataset
    tokens: Tokens
    adapter: Adapter
    evaluation: Evaluation
    onnx: Onnx
    verification: Verification
    verdict: Verdict

    @property
    def artefacts(self) -> dict[str, Artefact]:
        return dict(self.__dict__)

    @property
    def ship(self) -> str:
        return str(self.verdict.facts["ship"])


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
    """Write `report.html` (self-contained), `samples.jsonl` and `model_card.md`.

    `judged` is the folder of what people said of the answers, where they were asked.
    """
    line = Line(raw, dataset, tokens, adapter, evaluation, onnx, verification, verdict)
    samples = pick_samples(line, settings.samples)
    values = {
        "line": line,
        "models": model_rows(line),
        "samples": samples,
        "data": dataset.facts,
        "training": adapter.facts,
        "verdict": verdict.facts,
        "parity": verification.facts["parity"],
        "judged": judged_rows(judged, line.artefacts),
        "hashes": {name: artefact.digest for name, artefact in line.artefacts.items()},
    }
    with Report.write(out) as draft:
        values["plots"] = draw(line)
        page = render("report.html.j2", values)
        (draft.folder / "report.html").write_text(page, encoding="utf-8")
        card = render("model_card.md.j2", values)
        (draft.folder / "model_card.md").write_text(card, encoding="utf-8")
        lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples]
        (draft.folder / "samples.jsonl").write_text("".join(lines), encoding="utf-8")
        draft.facts = {"samples": len(samples)}
    return Report.open(out)


def model_rows(line: Line) -> list[dict[str, Any]]:
    """Return name, runtime, metrics and size (MB, `None` for torch) of every model measured."""
    rows = [
        {
            "name": name,
            "runtime": "torch fp32",
            "megabytes": None,
            "metrics": metrics,
            "shipped": False,
        }
        for name, metrics in line.evaluation.facts["models"].items()
    ]
    exported = line.verification.facts["variants"]
    for name in sorted(exported, key=lambda n: -exported[n]["bytes"]):
        rows.append(
            {
                "name": name,
                "runtime": "ONNX Runtime",
                "megabytes": exported[name]["bytes"] / 1e6,
                "metrics": exported[name]["metrics"],
                "shipped": name == line.ship,
            }
        )
    return rows


def pick_samples(line: Line, count: int) -> list[dict[str, Any]]:
    """Return held-out rows with the answers before and after: first those that changed."""
    texts = {row["id"]: row for row in held_out(line)}
    before = read_scores(line.evaluation.scores("base"))
    after = read_scores(line.verification.scores(line.ship))
    samples = [sample(texts[b.id], b, a) for b, a in zip(before, after, strict=True)]
    samples.sort(key=lambda s: (s["before"] == s["after"], s["id"]))
    return samples[:count]


def held_out(line: Line) -> list[dict[str, Any]]:
    """Return id, text, answer and choices of the rows that were evaluated on."""
    import pyarrow.parquet as pq

    split = line.evaluation.facts["items"]["split"]
    columns = ["id", "text", "answer", "choices"]
    rows: list[dict[str, Any]] = pq.read_table(
        line.dataset.split(split), columns=columns
    ).to_pylist()
    return rows


def sample(row: dict[str, Any], before: Score, after: Score) -> dict[str, Any]:
    """Return one row with what each model answered."""
    return {
        "id": row["id"],
        "text": row["text"],
        "reference": row["answer"],
        "before": answer(row, before),
        "after": answer(row, after),
        "before_right": before.right,
        "after_right": after.right if after.answer_tokens else after.text_nll < before.text_nll,
    }


def answer(row: dict[str, Any], score: Score) -> str:
    """Return the chosen label word, or which answer of a pair is the likelier.

    Of other free answers, whether it was exact; of plain text its bits per byte.
    """
    if not score.answer_tokens:
        bits = text_metrics([score])["bits_per_byte"]
        return "not read" if bits is None else f"{bits:.3f} bits per byte"
    if row["choices"]:
        return str(row["choices"][score.choice])
    if score.choice_logprobs:
        return "chosen" if score.right else "rejected"
    return "exact" if score.greedy else "different"


def draw(line: Line) -> dict[str, str]:
    """Return the plots as SVG."""
    with line.adapter.curve.open(encoding="utf-8") as stream:
        curve = [
            {key: float(value) if value else None for key, value in row.items()}
            for row in csv.DictReader(stream)
        ]
    exported = [row for row in model_rows(line) if row["megabytes"] is not None]
    plain = exported[0]["metrics"]["accuracy"] is None
    drawn = {
        "curve": plots.training_curve(curve),
        "sizes": plots.quality_over_size(
            [row["name"] for row in exported],
            [row["megabytes"] for row in exported],
            [quality(row["metrics"]) for row in exported],
            "bits per byte of text" if plain else "accuracy (%), 95 % interval",
        ),
    }
    if matrix := confusion(line):
        drawn["confusion"] = plots.confusion(*matrix)
    return drawn


def quality(metrics: dict[str, Any]) -> tuple[float, float, float]:
    """Return (value, low, high) to plot: accuracy in percent; of plain text its bits per byte."""
    if metrics["accuracy"] is None:
        bits = float(metrics["bits_per_byte"])
        return bits, bits, bits
    low, high = metrics["accuracy_interval"]
    return 100 * metrics["accuracy"], 100 * low, 100 * high


def confusion(line: Line) -> tuple[list[str], list[list[int]]] | None:
    """Return (labels, counts[right][answered]) of the shipped file, `None` without fixed labels."""
    choices = {tuple(row["choices"]) for row in held_out(line)}
    if len(choices) != 1 or choices == {()}:
        return None
    labels = list(choices.pop())
    scores = read_scores(line.verification.scores(line.ship))
    counts = [[0] * len(labels) for _ in labels]
    for score in scores:
        counts[score.target][score.choice] += 1
    return labels, counts


def render(template: str, values: dict[str, Any]) -> str:
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
