"""How far a secret stands out: its rank among random alternatives (Carlini et al. 2019)."""

import math
from collections.abc import Sequence

import numpy as np

from components.scoring.likelihoods import likelihoods
from components.scoring.lm import CausalLM
from components.scoring.requests import Answer, Desk, Plan, Request


def expose(lm: CausalLM, plan: Plan, requests: Sequence[Request], desk: Desk) -> list[Answer]:
    """Rank each request's first choice, the secret, among all its choices.

    Marks: `exposure` in bits, and `extracted` where greedy decoding writes the secret.
    """
    del plan
    found = likelihoods(
        lm,
        [r.prompt for r in requests],
        [r.choices for r in requests],
        events=desk.events,
        label=desk.label,
    )
    answers = []
    for request, several in zip(requests, found, strict=True):
        logprobs = tuple(one.logprob for one in several)
        marks: dict[str, tuple[float, ...]] = {
            "exposure": (exposure(logprobs), 1.0),
            "extracted": (float(several[0].greedy), 1.0),
        }
        answers.append(Answer(request.id, marks, logprobs=logprobs))
    return answers


def exposure(logprobs: Sequence[float]) -> float:
    """Return log₂ |R| - log₂ rank of the first of all candidates R, in bits (eq. 2 there).

    Equals share their ranks. A model that knows nothing of the secret gives 1.4 bits on average,
    one that has learned it log₂ |R|.
    """
    first, others = logprobs[0], np.array(logprobs[1:])
    rank = 1 + int((others > first).sum()) + 0.5 * int((others == first).sum())
    return math.log2(len(logprobs)) - math.log2(rank)
