"""How fast a model reads and writes, how long a request takes, and what memory it needs.

A request is a prompt of `speed_prompt_tokens` and an answer of `speed_new_tokens`, read and written
in batches of each of `speed_batch_sizes`. These figures belong to the machine, not to the files: no
artefact holds them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from components.scoring.lm import CausalLM, Ids
from components.verification.memory import PeakMemory
from components.verification.settings import VerificationSettings

WARM_UP = 2
"""Tokens written to warm up. Reading takes the most memory, and the first token is the cold one."""


@dataclass(frozen=True)
class Request:
    """Seconds that one batch took: to read its prompts, and for each token that it wrote."""

    prefill: float
    steps: tuple[float, ...]

    @property
    def seconds(self) -> float:
        return self.prefill + sum(self.steps)


def measure_speed(
    load: Callable[[], CausalLM],
    prompts: Sequence[Sequence[int]],
    settings: VerificationSettings,
    *,
    held_bytes: int = 0,
    in_main_memory: bool = True,
) -> dict[str, Any]:
    """Return {"prefill_tokens_per_s", "decode_tokens_per_s", "batches": {"1": {…}, "8": {…}}}.

    The first two are of the first batch size. Rates are medians over requests, of all rows of a
    batch together. `latency_p50_s` and `latency_p95_s` are of a whole request, `token_p50_s` and
    `token_p95_s` of one step of writing. `memory_bytes` is what loading the model and the warm-up
    added to this process, and `held_bytes` of a model that was loaded before; None where the model
    is not `in_main_memory`. To warm up a request is read and `WARM_UP` tokens of its answer are
    written; then there are `speed_repeats` requests a batch size and more while `speed_seconds`
    last; fewer, one at least, where they take longer than that.
    """
    sizes = settings.speed_batch_sizes
    found: dict[str, Any] = {}
    with PeakMemory() as memory:
        lm = load()
        peaks = {}
        for size in sizes:
            batch = prompts_of_length(prompts, settings.speed_prompt_tokens, size)
            request(lm, batch, min(WARM_UP, settings.speed_new_tokens))
            peaks[size] = memory.grown() + held_bytes if in_main_memory else None
    for size in sizes:
        batch = prompts_of_length(prompts, settings.speed_prompt_tokens, size)
        requests = timed(partial(request, lm, batch, settings.speed_new_tokens), settings)
        found[str(size)] = {**figures(requests, batch), "memory_bytes": peaks[size]}
    first = found[str(sizes[0])]
    rates = {name: first[name] for name in ("prefill_tokens_per_s", "decode_tokens_per_s")}
    return {**rates, "batches": found}


def request(lm: CausalLM, prompts: Ids, new_tokens: int) -> Request:
    """Read `prompts` [batch, n] and write an answer of `new_tokens` to each."""
    begun = perf_counter()
    _, cache = lm.forward(prompts, last_only=True)
    read = perf_counter()
    ends = [read]
    # Which tokens are fed makes no difference to the time.
    for place in range(new_tokens):
        token = prompts[:, place % prompts.shape[1]][:, None]
        _, cache = lm.forward(token, cache, last_only=True)
        ends.append(perf_counter())
    return Request(read - begun, tuple(float(step) for step in np.diff(ends)))


def timed(work: Callable[[], Request], settings: VerificationSettings) -> list[Request]:
    """Return requests, as many as the settings' repeats and seconds allow."""
    requests: list[Request] = []
    spent = 0.0
    # The last of the repeats may run past the seconds, but never twice as long as they are.
    while not requests or (
        spent < settings.speed_seconds
        or (len(requests) < settings.speed_repeats and spent < 2 * settings.speed_seconds)
    ):
        requests.append(work())
        spent += requests[-1].seconds
    return requests


def figures(requests: Sequence[Request], prompts: Ids) -> dict[str, float | int]:
    """Return rates in tokens a second and latencies in seconds."""
    rows, length = prompts.shape
    steps = [step for one in requests for step in one.steps]
    latency = np.percentile([one.seconds for one in requests], [50, 95])
    token = np.percentile(steps, [50, 95])
    return {
        "requests": len(requests),
        "prompt_tokens": length,
        "new_tokens": len(requests[0].steps),
        "prefill_tokens_per_s": rows * length / median(one.prefill for one in requests),
        "decode_tokens_per_s": rows / median(float(np.mean(one.steps)) for one in requests),
        "latency_p50_s": float(latency[0]),
        "latency_p95_s": float(latency[1]),
        "token_p50_s": float(token[0]),
        "token_p95_s": float(token[1]),
    }


def prompts_of_length(prompts: Sequence[Sequence[int]], length: int, rows: int = 1) -> Ids:
    """Return `length` tokens a row [rows, length] of the prompts, one after another."""
    ids = [token for prompt in prompts[: rows * length] for token in prompt]
    return np.resize(np.asarray(ids, np.int64), (rows, length))
