"""What a way of rounding costs: a file is built, asked the validation rows and timed."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from components.contracts.artefacts import write_json
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Onnx, Tokens
from components.export.candidates import settings_of
from components.export.settings import ExportSettings
from components.quantization.front import Change, Measured
from components.scoring.items import Item, Score
from components.verification.settings import VerificationSettings

Sums = np.ndarray[Any, np.dtype[np.float64]]

SPLIT = "validation"
"""Never the test split: a file chosen on the gate's own items would pass its gate too often."""

FIGURES = ("accuracy", "answer perplexity", "text perplexity")
"""What may be lost: what the gate looks at. Rows of plain text have the last only."""

FEWEST = 20
REFERENCE = ExportSettings(variants=("fp32",))


@dataclass
class Bench:
    """Measures candidates on the validation rows of a recipe, and keeps what it measured.

    What was measured of the same settings, weights and rows before is read from `cache`. The file
    of the last candidate stays in `cache` until the next is built.
    """

    base: BaseModelFolder
    tokens: Tokens
    adapter: Adapter
    asked: ExportSettings
    speed: VerificationSettings
    items: Sequence[Item]
    context: Context
    cache: Path
    _reference: list[Score] = field(default_factory=list)
    _built: tuple[str, Onnx] | None = None

    def measure(self, name: str, share: float) -> Measured:
        """Return what a candidate is worth on the first `share` of the items."""
        settings = settings_of(name, self.asked)
        items = self.items[: part_of(len(self.items), share)]
        file = self.cache / f"{self._key(settings, len(items))}.json"
        if file.is_file():
            return read_measured(file)
        self.context.events.note(f"{name}: {len(items)} rows of the {SPLIT} split")
        reference = self.reference()[: len(items)]  # its file goes when the candidate's is built
        onnx = self._file(name, settings)
        (variant,) = onnx.variants
        facts = onnx.facts["variants"][variant]
        measured = Measured(
            name,
            len(items),
            facts["bytes"],
            8 * facts["bytes"] / onnx.facts["parameters"],
            changes(self._scores(onnx, items, name), reference),
            **self._speeds(onnx),
        )
        self.cache.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(measured))
        return measured

    def reference(self) -> list[Score]:
        """Return the scores of the file in full precision, on all items."""
        if not self._reference:
            from components.scoring.tables import read_scores, write_scores

            file = self.cache / f"{self._key(REFERENCE, len(self.items))}.parquet"
            if not file.is_file():
                onnx = self._file("fp32", REFERENCE)
                scores = self._scores(onnx, self.items, "fp32")
                self.cache.mkdir(parents=True, exist_ok=True)
                write_scores(file, scores)
            self._reference = read_scores(file)
        return self._reference

    def close(self) -> None:
        """Delete the file that was built last."""
        shutil.rmtree(self.cache / "built", ignore_errors=True)
        self._built = None

    def _key(self, settings: ExportSettings, items: int) -> str:
        """Return a name for what is measured: nothing else decides the result, but the machine."""
        from components.export.builder import versions

        inputs = [one.digest for one in (self.base, self.adapter, self.tokens)]
        told = [settings.model_dump(mode="json"), inputs, versions(), items]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]

    def _file(self, name: str, settings: ExportSettings) -> Onnx:
        from components.export.export import export

        if self._built is None or self._built[0] != name:
            self.close()
            asked = settings.model_copy(
                update={"execution_provider": self.asked.execution_provider}
            )
            out = self.cache / "built" / "onnx"
            inputs = (self.base, self.adapter, asked)
            onnx = export(*inputs, out=out, context=self.context, tokens=self.tokens)
            self._built = (name, onnx)
        return self._built[1]

    def _scores(self, onnx: Onnx, items: Sequence[Item], name: str) -> list[Score]:
        from components.scoring.score import score_items
        from components.verification.verify import open_variant

        return score_items(
            open_variant(onnx, onnx.variants[0], threads=1),
            items,
            prefix_token=int(self.tokens.facts["prefix_token"]),
            events=self.context.events,
            label=f"{name}: answering",
        )

    def _speeds(self, onnx: Onnx) -> dict[str, float]:
        from components.verification.parity import beginnings
        from components.verification.speed import measure_speed
        from components.verification.verify import open_variant

        prompts = beginnings(self.items, int(self.tokens.facts["prefix_token"]))
        one = self.speed.model_copy(update={"speed_batch_sizes": (1,)})
        found = measure_speed(lambda: open_variant(onnx, onnx.variants[0]), prompts, one)
        return {
            "prefill": found["prefill_tokens_per_s"],
            "decode": found["decode_tokens_per_s"],
        }


def part_of(count: int, share: float) -> int:
    """Return how many of `count` items a share is: a few at least."""
    return min(count, max(FEWEST, round(count * share)))


def read_measured(file: Path) -> Measured:
    """Return what `Bench.measure` wrote."""
    told = json.loads(file.read_text(encoding="utf-8"))
    told["changes"] = {
        name: Change(one["value"], tuple(one["interval"])) for name, one in told["changes"].items()
    }
    return Measured(**told)


def changes(model: Sequence[Score], reference: Sequence[Score]) -> dict[str, Change]:
    """Return what a file loses against full precision, by the gate's own figures.

    `accuracy` is in points (a share), perplexities are relative rises. What the rows do not have is
    left out.
    """
    from components.scoring.comparison import compare

    found = {}
    if any(score.answer_tokens for score in reference):
        told = compare(model, reference)
        low, high = told.interval
        found[FIGURES[0]] = Change(-told.difference, (-high, -low))
        found[FIGURES[1]] = rise(model, reference, lambda one: (one.answer_nll, one.answer_tokens))
    if any(score.text_tokens for score in reference):
        found[FIGURES[2]] = rise(model, reference, lambda one: (one.text_nll, one.text_tokens))
    return found


def rise(
    model: Sequence[Score],
    reference: Sequence[Score],
    told: Callable[[Score], tuple[float, int]],
) -> Change:
    """Return the relative rise of a perplexity, exp(ΣNLL/Σtokens), items resampled in pairs."""
    from components.scoring.text_comparison import interval, resample

    ours, theirs = (np.array([told(one) for one in scores]) for scores in (model, reference))
    sums = np.stack([ours[:, 0] - theirs[:, 0], theirs[:, 1]])[:, theirs[:, 1] > 0]
    draws = resample(sums, 2000, 0)
    low, high = interval(np.expm1(draws[0] / draws[1]))
    return Change(float(np.expm1(sums[0].sum() / sums[1].sum())), (low, high))
