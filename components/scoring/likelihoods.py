"""Log-likelihoods of continuations: what a context has in common with others is read once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.contracts.errors import DataError
from components.contracts.events import Events, Silent
from components.scoring.lm import CausalLM, Logits, read_branches
from components.scoring.score import common_prefix, normalizers

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Likelihood:
    """Of a continuation in nats, and whether greedy decoding would write it."""

    logprob: float
    greedy: bool


def likelihoods(
    lm: CausalLM,
    contexts: Sequence[Tokens],
    continuations: Sequence[Sequence[Tokens]],
    *,
    events: Events | None = None,
    label: str = "scoring",
) -> list[list[Likelihood]]:
    """Return the log-likelihood of each continuation of each context, in order.

    Equal contexts are read once with all their continuations behind them, and what all contexts
    begin with is read once for all. Neither changes the numbers. Raises `DataError` where a context
    or a continuation has no tokens.
    """
    if not all(contexts) or not all(all(several) for several in continuations):
        raise DataError(
            "a context or a continuation has no tokens",
            fix="look for empty prompts and choices in the task's rows",
        )
    events = events or Silent()
    wanted: dict[Tokens, dict[Tokens, Likelihood | None]] = {}
    for context, several in zip(contexts, continuations, strict=True):
        wanted.setdefault(context, {}).update(dict.fromkeys(several))
    trunks = list(wanted)
    shared = common_prefix(trunks)
    branches = [list(wanted[trunk]) for trunk in trunks]
    tails = [trunk[len(shared) :] for trunk in trunks]
    found = wanted
    for done, (index, (first, rest)) in enumerate(
        read_branches(lm, shared, tails, branches), start=1
    ):
        said = weigh(first, branches[index], rest)
        found[trunks[index]] = dict(zip(branches[index], said, strict=True))
        events.progress(label, done, len(trunks))
    return [
        [_known(found[context][one]) for one in several]
        for context, several in zip(contexts, continuations, strict=True)
    ]


def weigh(first: Logits, branches: Sequence[Tokens], rest: Sequence[Logits]) -> list[Likelihood]:
    """Return what logits say of branches: `first` [vocabulary] of all first tokens, `rest` [n, …]
    of each branch's others.
    """
    floor, best = normalizers(first[None])
    results = []
    for branch, logits in zip(branches, rest, strict=True):
        total, greedy = float(first[branch[0]] - floor[0]), bool(best[0] == branch[0])
        if len(branch) > 1:
            ids = np.array(branch[1:])
            floors, bests = normalizers(logits)
            total += float((logits[np.arange(len(ids)), ids] - floors).sum())
            greedy = greedy and bool((bests == ids).all())
        results.append(Likelihood(total, greedy))
    return results


def _known(found: Likelihood | None) -> Likelihood:
    if found is None:
        raise DataError("the model did not answer every continuation", fix="run the step again")
    return found
