"""Putting a task's requests to a model: the one way for torch and for exported files."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from components.runtime.batch import Stop, cut, generate_batch
from components.runtime.generate import Generation
from components.scoring.documents import Document, Reading, score_documents
from components.scoring.exposure import expose
from components.scoring.likelihoods import likelihoods
from components.scoring.lm import CausalLM
from components.scoring.marking import MARKERS, extract
from components.scoring.measures import estimate, measure_named
from components.scoring.requests import Answer, Desk, Plan, Request, marks_of
from components.scoring.sandbox import Limits, pass_at_k, passing, program_of

FORM_FEED = "\f"


def answer(lm: CausalLM, plan: Plan, requests: Sequence[Request], desk: Desk) -> list[Answer]:
    """Return the model's answer to every request, in order, with its marks."""
    return ANSWERERS[plan.kind](lm, plan, requests, desk)


def summary(plan: Plan, answers: Sequence[Answer]) -> dict[str, Any]:
    """Return {"value", "interval", "items"} of each measure of the plan."""
    return {m: estimate(measure_named(m), marks_of(answers, m)) for m in plan.measures}


def choose(lm: CausalLM, plan: Plan, requests: Sequence[Request], desk: Desk) -> list[Answer]:
    """Weigh the choices: `acc` by their log-likelihood, `acc_norm` by that over the characters of
    the choice and `acc_bytes` over its bytes, as lm-eval does. The first of equals is chosen.
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
        logprobs = np.array([one.logprob for one in several])
        sizes = {
            "acc": np.ones(len(logprobs)),
            "acc_norm": np.array(request.choice_characters),
            "acc_bytes": np.array(request.choice_bytes),
        }
        marks: dict[str, tuple[float, ...]] = {
            name: (float(np.argmax(logprobs / size) == request.target), 1.0)
            for name, size in sizes.items()
        }
        answers.append(Answer(request.id, marks, logprobs=tuple(map(float, logprobs))))
    return answers


def write(lm: CausalLM, plan: Plan, requests: Sequence[Request], desk: Desk) -> list[Answer]:
    """Let the model answer freely, greedily; mark what `extract` finds in each answer."""
    texts = generate_texts(lm, plan, [r.prompt for r in requests], desk)
    mark, pattern = MARKERS[plan.marker], plan.options.get("extract")
    return [
        Answer(r.id, dict(mark(extract(text, pattern), r.references)), text=text)
        for r, text in zip(requests, texts, strict=True)
    ]


def program(lm: CausalLM, plan: Plan, requests: Sequence[Request], desk: Desk) -> list[Answer]:
    """Let the model write programs and run their tests, `num_samples` of each; see `sandbox`."""
    options, samples = plan.options, plan.options["num_samples"]
    prompts = [r.prompt for r in requests for _ in range(samples)]
    texts = generate_texts(lm, plan, prompts, desk)
    programs = [
        program_of(r.code[0], text, *r.code[1:])
        for r, text in zip([r for r in requests for _ in range(samples)], texts, strict=True)
    ]
    limits = Limits(options["timeout"], options["memory"], options["workers"])
    passed = np.reshape(passing(programs, limits), (len(requests), samples))
    return [
        Answer(
            r.id,
            {"pass@1": (pass_at_k(samples, int(passed[at].sum()), 1), 1.0)},
            text=FORM_FEED.join(texts[at * samples : (at + 1) * samples]),
        )
        for at, r in enumerate(requests)
    ]


def read(lm: CausalLM, plan: Plan, requests: Sequence[Request], desk: Desk) -> list[Answer]:
    """Read documents for perplexity."""
    documents = [Document(r.id, r.prompt, r.words, r.bytes) for r in requests]
    reading = Reading(**plan.options)
    found = score_documents(lm, documents, reading, events=desk.events, label=desk.label)
    return [
        Answer(
            one.id,
            {
                "token_perplexity": (nll, float(len(one.tokens))),
                "word_perplexity": (nll, float(one.words)),
                "byte_perplexity": (nll, float(one.bytes)),
                "bits_per_byte": (nll, float(one.bytes)),
            },
        )
        for one, nll in zip(documents, found, strict=True)
    ]


def generate_texts(
    lm: CausalLM, plan: Plan, prompts: Sequence[Sequence[int]], desk: Desk
) -> list[str]:
    """Return the answer to each prompt as text, cut at the plan's stop texts."""
    stops = tuple(plan.options["stop"])
    generation = Generation(
        max_new_tokens=plan.options["max_new_tokens"],
        temperature=plan.options.get("temperature", 0.0),
        seed=plan.options.get("seed", 0),
    )
    texts, voice = [""] * len(prompts), desk.voice
    stop = Stop(voice.stop_ids, stops, voice.decode)
    for done, (index, ids) in enumerate(generate_batch(lm, prompts, generation, stop), start=1):
        texts[index] = cut(voice.decode(ids), stops)
        desk.events.progress(desk.label, done, len(prompts))
    return texts


Answerer = Callable[[CausalLM, Plan, Sequence[Request], Desk], list[Answer]]

ANSWERERS: dict[str, Answerer] = {
    "choice": choose,
    "generation": write,
    "code": program,
    "perplexity": read,
    "canary": expose,
}
"""How each kind of task is answered; `lm_eval` answers by itself (`harness_run`)."""
