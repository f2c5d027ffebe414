"""Tokens a second at batch 1: reading a prompt, and writing an answer."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

import numpy as np

from components.scoring.lm import CausalLM, Ids
from components.verification.settings import VerificationSettings


def measure_speed(
    lm: CausalLM, prompts: Sequence[Sequence[int]], settings: VerificationSettings
) -> dict[str, float]:
    """Return `prefill_tokens_per_s` and `decode_tokens_per_s`, medians after one warm-up each."""
    prompt = prompt_of_length(prompts, settings.speed_prompt_tokens)
    _, past = lm.forward(prompt, last_only=True)

    def prefill() -> None:
        lm.forward(prompt, last_only=True)

    def decode() -> None:
        cache = past
        # Which tokens are fed makes no difference to the time.
        for place in range(settings.speed_new_tokens):
            token = prompt[:, place % prompt.shape[1]][:, None]
            _, cache = lm.forward(token, cache, last_only=True)

    return {
        "prefill_tokens_per_s": prompt.shape[1] / _seconds(prefill, settings.speed_repeats),
        "decode_tokens_per_s": settings.speed_new_tokens / _seconds(decode, settings.speed_repeats),
    }


def prompt_of_length(prompts: Sequence[Sequence[int]], length: int) -> Ids:
    """Return `length` tokens [1, length] of the prompts, one after another."""
    ids = [token for prompt in prompts[:length] for token in prompt]
    return np.resize(np.asarray(ids, np.int64), (1, length))


def _seconds(work: Callable[[], None], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times)
