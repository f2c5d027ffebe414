"""Whether an exported file computes what torch computes, token by token."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import DataError, ModelError
from components.scoring.items import Item
from components.scoring.lm import CausalLM, Ids, Logits
from components.scoring.score import common_prefix

MAX_BATCH_TOKENS = 640
"""Tokens of one batch: bounds the logits in memory at 640 × vocabulary × 4 bytes, twice."""

MAX_BEGINNING = 256
"""Tokens of a plain text that are taken as the beginning to go on from."""


@dataclass(frozen=True)
class Run:
    """Prompts of one length with their greedy continuation.

    `ids` [batch, prompt + new]; `logits` [batch, prompt + new - 1, vocabulary] predict
    `ids[:, 1:]`.
    """

    ids: Ids
    logits: Logits


@dataclass(frozen=True)
class Reference:
    """What torch says at the generated positions: `logits` [batch, new, vocabulary] a batch."""

    ids: Ids
    logits: Logits


@dataclass
class Agreement:
    """How far a file's logits are from torch's at the generated positions, added up."""

    positions: int = 0
    same: int = 0
    total: float = 0.0
    count: int = 0
    largest: float = 0.0

    def add(self, found: Logits, expected: Logits) -> None:
        """Take logits [..., vocabulary] of the same positions."""
        difference = np.abs(found - expected)
        choices = found.argmax(axis=-1) == expected.argmax(axis=-1)
        self.positions, self.same = self.positions + choices.size, self.same + int(choices.sum())
        self.total += float(difference.sum(dtype=np.float64))
        self.count += difference.size
        self.largest = max(self.largest, float(difference.max()))

    def facts(self) -> dict[str, Any]:
        """Return the figures; `argmax` is the share of positions where both choose one token."""
        return {
            "positions": self.positions,
            "argmax": self.same / self.positions,
            "mean_logit_difference": self.total / self.count,
            "max_logit_difference": self.largest,
        }


@dataclass
class Parity:
    """The comparison of one file with torch, added up batch by batch."""

    prompts: int = 0
    identical_greedy: int = 0
    max_logit_difference: float = 0.0
    references: list[Reference] = field(default_factory=list)
    agreement: Agreement = field(default_factory=Agreement)

    def add(self, run: Run, expected: Logits, new_tokens: int, shared: Sequence[int] = ()) -> None:
        """Take one batch: torch's logits for `run.ids` must be the run's, and so must its choice.

        Torch choosing each generated token after the same tokens before it is, by induction, the
        same as torch generating them. `shared` is what every row was read behind.
        """
        self.differ(run.logits, expected)
        generated = expected[:, -new_tokens:].copy()
        same = (generated.argmax(axis=-1) == run.ids[:, -new_tokens:]).all(axis=1)
        self.prompts += len(same)
        self.identical_greedy += int(same.sum())
        before = np.broadcast_to(np.asarray(shared, np.int64), (len(same), len(shared)))
        self.references.append(Reference(np.concatenate([before, run.ids], axis=1), generated))
        self.agreement.add(run.logits[:, -new_tokens:], generated)

    def differ(self, found: Logits, expected: Logits) -> None:
        """Take logits of the same positions."""
        difference = float(np.abs(found - expected).max())
        self.max_logit_difference = max(self.max_logit_difference, difference)


def check_parity(
    lm: CausalLM, torch_lm: CausalLM, prompts: Sequence[Sequence[int]], new_tokens: int
) -> Parity:
    """Generate greedily with `lm` through its cache; compare with one torch forward a batch.

    Where the prompts are mostly what all of them begin with, each of the two reads that once.
    """
    parity = Parity()
    past = torch_past = None
    shared = worth_sharing(prompts)
    if shared:
        found, past = lm.forward(np.array([shared], np.int64))
        expected, torch_past = torch_lm.forward(np.array([shared], np.int64))
        parity.differ(check_finite(found), expected)
    for rows in equal_lengths([prompt[len(shared) :] for prompt in prompts]):
        run = generate_greedy(lm, rows, new_tokens, past)
        expected, _ = torch_lm.forward(run.ids[:, :-1], torch_past)
        parity.add(run, expected, new_tokens, shared)
    return parity


def worth_sharing(prompts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return what several prompts begin with, if it is half of what they are or more; or ()."""
    shared = common_prefix([tuple(prompt) for prompt in prompts])
    left = sum(len(prompt) - len(shared) for prompt in prompts)
    return shared if len(prompts) > 1 and len(shared) * len(prompts) >= left else ()


def generate_greedy(lm: CausalLM, prompts: Ids, new_tokens: int, past: Any = None) -> Run:
    """Continue `prompts` [batch, n] by `new_tokens`, whatever they are: no token stops it.

    `past` is a cache of one row that all of them are read behind.
    """
    logits, past = lm.forward(prompts, past)
    ids, all_logits = prompts, [check_finite(logits)]
    for _ in range(new_tokens - 1):
        chosen = all_logits[-1][:, -1:].argmax(axis=-1).astype(np.int64)
        ids = np.concatenate([ids, chosen], axis=1)
        logits, past = lm.forward(chosen, past)
        all_logits.append(check_finite(logits))
    last = all_logits[-1][:, -1:].argmax(axis=-1).astype(np.int64)
    return Run(np.concatenate([ids, last], axis=1), np.concatenate(all_logits, axis=1))


def agreement(lm: CausalLM, references: Sequence[Reference]) -> Agreement:
    """Hold another file's logits at the generated positions against torch's."""
    rows = [tuple(ids[:-1]) for reference in references for ids in reference.ids.tolist()]
    expected = [logits for reference in references for logits in reference.logits]
    shared = common_prefix(rows)
    tails = [row[len(shared) :] for row in rows]
    new_tokens = expected[0].shape[0]
    if min(map(len, tails)) < new_tokens:  # nearly one prompt: its generated part is not shared
        shared, tails = (), rows
    result = Agreement()
    for index, logits in lm.read(shared, tails, [new_tokens] * len(tails)):
        result.add(check_finite(logits), expected[index])
    return result


def beginnings(items: Sequence[Item], prefix_token: int) -> list[Sequence[int]]:
    """Return what a model is given to go on from: the prompts; of plain text up to its half.

    A text is read behind `prefix_token`, as it is where it is scored; an empty one is left out.
    Raises `DataError` when nothing is left.
    """
    found: list[Sequence[int]] = [
        item.prompt or (prefix_token, *item.text[: min(len(item.text) // 2, MAX_BEGINNING)])
        for item in items
        if item.prompt or item.text
    ]
    if not found:
        raise DataError(
            "no held-out row has a prompt or a text to begin from",
            fix="raise evaluation.max_text_samples, or set it to null",
        )
    return found


def choose_prompts(prompts: Sequence[Sequence[int]], count: int) -> list[Sequence[int]]:
    """Return `count` of the prompts: the longest, then those of the commonest lengths.

    Batches hold prompts of one length, so few lengths make few batches.
    """
    common = Counter(len(prompt) for prompt in prompts)
    order = sorted(prompts, key=lambda prompt: (-common[len(prompt)], len(prompt)))
    longest = max(order, key=len)
    order.remove(longest)
    return [longest, *order][:count]


def equal_lengths(prompts: Sequence[Sequence[int]]) -> Iterator[Ids]:
    """Yield the prompts as batches [rows, n] of one length, of at most `MAX_BATCH_TOKENS` each."""
    for length, group in groupby(sorted(prompts, key=len), key=len):
        rows = list(group)
        size = max(1, MAX_BATCH_TOKENS // length)
        for start in range(0, len(rows), size):
            yield np.asarray(rows[start : start + size], np.int64)


def check_finite(logits: Logits) -> NDArray[np.float32]:
    """Return `logits`; raise `ModelError` if the file overflows."""
    if not np.isfinite(logits).all():
        raise ModelError(
            "the exported file gives logits that are not finite",
            fix="leave this variant out of export.variants (fp16 overflows where bf16 does not)",
        )
    return logits
