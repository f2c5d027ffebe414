"""Two models on the same documents: whose text is the likelier, by how much, and how sure that is.

Documents are resampled whole (Efron & Tibshirani 1993): tokens of one document are not independent.
The figures are ratios of sums over the resampled documents, never means over documents.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import DataError
from components.scoring.items import Score

Sums = NDArray[np.float64]
CHUNK = 2_000_000
"""Draws held at a time: resamples × documents."""


@dataclass(frozen=True)
class TextComparison:
    """The text under `model` against `reference`, paired by document.

    `difference` is in bits per byte (below 0: `model` is better) and `rise` the relative change of
    the token-weighted perplexity, each with its 95 % paired bootstrap interval. `p` is the
    two-sided bootstrap p of no difference: 2/(resamples + 1) at least, 1 at most.
    """

    items: int
    bytes: int
    reference_bits_per_byte: float
    model_bits_per_byte: float
    difference: float
    interval: tuple[float, float]
    rise: float
    rise_interval: tuple[float, float]
    p: float

    @property
    def improved(self) -> bool:
        return self.difference < 0

    def facts(self) -> dict[str, Any]:
        intervals = {"interval": list(self.interval), "rise_interval": list(self.rise_interval)}
        return {**asdict(self), **intervals}

    def words(self) -> str:
        """Say it in a sentence, in bits per byte."""
        low, high = self.interval
        way = "better" if self.difference < 0 else "worse" if self.difference > 0 else "equal"
        size = f" by {abs(self.difference):.4f} bits per byte" if self.difference else ""
        return (
            f"{way}{size} ({low:+.4f} … {high:+.4f}; {self.model_bits_per_byte:.4f} against "
            f"{self.reference_bits_per_byte:.4f}), p = {self.p:.1g}, {self.items} documents"
        )


def compare_texts(
    model: Sequence[Score],
    reference: Sequence[Score],
    *,
    resamples: int = 9999,
    seed: int = 0,
    own_tokens: bool = False,
) -> TextComparison:
    """Compare two models on the texts that both have read.

    With `own_tokens` each has its own tokenizer: bits per byte are comparable all the same, and the
    rise is that of the perplexity of a byte.

    Raises:
        DataError: the documents differ, or none of them has a text.
    """
    if _read_by(model, own_tokens) != _read_by(reference, own_tokens):
        raise DataError(
            "the two models did not read the same documents in the same order",
            fix="run the line again: evaluate and verify must read the same tokens",
        )
    read = [place for place, score in enumerate(model) if score.text_tokens]
    if not read:
        raise DataError(
            "no held-out row has a text to compare models on",
            fix="raise evaluation.max_text_samples, or set it to null",
        )
    ours = np.array([model[place].text_nll for place in read])
    theirs = np.array([reference[place].text_nll for place in read])
    tokens = np.array([model[place].text_tokens for place in read], np.float64)
    size = np.array([model[place].text_bytes for place in read], np.float64)
    tokens = size if own_tokens else tokens
    bits = size * math.log(2)
    draws = resample(np.stack([ours - theirs, tokens, bits]), resamples, seed)
    difference = draws[0] / draws[2]
    rise = np.expm1(draws[0] / draws[1])
    return TextComparison(
        items=len(read),
        bytes=int(size.sum()),
        reference_bits_per_byte=float(theirs.sum() / bits.sum()),
        model_bits_per_byte=float(ours.sum() / bits.sum()),
        difference=float((ours - theirs).sum() / bits.sum()),
        interval=interval(difference),
        rise=float(np.expm1((ours - theirs).sum() / tokens.sum())),
        rise_interval=interval(rise),
        p=two_sided(difference),
    )


def _read_by(scores: Sequence[Score], own_tokens: bool) -> list[tuple[str, int, int]]:
    return [(s.id, int(own_tokens) or s.text_tokens, s.text_bytes) for s in scores]


def resample(values: Sums, resamples: int, seed: int) -> Sums:
    """Return the sums [figures, resamples] of `values` [figures, documents] drawn with return."""
    count = values.shape[1]
    rng = np.random.default_rng(seed)
    shares = np.full(count, 1 / count)
    at_once = max(1, CHUNK // count)
    parts = [
        values @ rng.multinomial(count, shares, size=min(at_once, resamples - start)).T
        for start in range(0, resamples, at_once)
    ]
    sums: Sums = np.concatenate(parts, axis=1)
    return sums


def interval(draws: Sums) -> tuple[float, float]:
    """Return the 95 % percentile interval."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def two_sided(draws: Sums) -> float:
    """Return the p of no difference: how often resampling turns the sign, twice, and never 0."""
    sides = [int((draws <= 0).sum()), int((draws >= 0).sum())]
    return min(1.0, 2 * (min(sides) + 1) / (len(draws) + 1))


def resamples_for(alpha: float) -> int:
    """Return enough resamples for a p of a tenth of `alpha` to be told (9,999 at least)."""
    return max(9999, math.ceil(20 / alpha))
