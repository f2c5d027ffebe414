"""Which point is tried next. Nothing is remembered but the trials themselves.

So a sweep that was interrupted goes on as it would have: the same trials give the same proposal.
"""

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from components.contracts.errors import RecipeError
from flows.sweep_settings import Range, SweepSettings
from flows.sweep_space import Point
from flows.sweep_trials import Trial

DIGITS = 4
"""Significant digits of a number drawn from a range: what is tried is what a recipe can say."""

AGAIN = 20
"""So many other draws are made where a point has been tried before."""


def propose(settings: SweepSettings, number: int, known: Sequence[Trial]) -> Point:
    """Return the point of trial `number` (from 0), given all trials before it.

    Raises `RecipeError` where `search: tpe` is asked for without Optuna.
    """
    tried = [trial.spec.parameters for trial in known]
    search = SEARCHES[settings.search]
    for attempt in range(AGAIN):
        point = search(settings, number, attempt, known)
        if point not in tried or settings.search == "grid":
            break
    return point


def _grid(settings: SweepSettings, number: int, attempt: int, known: Sequence[Trial]) -> Point:
    """Count through the combinations; the last parameter changes soonest."""
    del attempt, known
    lists = [tuple(domain) for domain in settings.parameters.values()]
    return dict(zip(settings.parameters, list(product(*lists))[number], strict=True))


def _random(settings: SweepSettings, number: int, attempt: int, known: Sequence[Trial]) -> Point:
    import numpy as np

    del known
    rng = np.random.default_rng([settings.seed, number, attempt])
    return {name: _drawn(domain, rng) for name, domain in settings.parameters.items()}


def _drawn(domain: Any, rng: Any) -> Any:
    if not isinstance(domain, Range):
        return domain[int(rng.integers(len(domain)))]
    if not domain.log:
        found = rng.uniform(domain.low, domain.high + (1 if domain.whole else 0))
    else:
        top = domain.high + (1 if domain.whole else 0)
        found = math.exp(rng.uniform(math.log(domain.low), math.log(top)))
    return _within(domain, found)


def _within(domain: Range, value: float) -> int | float:
    rounded = math.floor(value) if domain.whole else float(f"{value:.{DIGITS}g}")
    return min(max(rounded, domain.low), domain.high)


def _tpe(settings: SweepSettings, number: int, attempt: int, known: Sequence[Trial]) -> Point:
    """Ask Optuna, given all trials so far; those that run count as bad ones (constant liar)."""
    from numpy.random import SeedSequence

    optuna = load_optuna()
    (seed,) = SeedSequence([settings.seed, number, attempt]).generate_state(1)
    sampler = optuna.samplers.TPESampler(
        seed=int(seed),
        n_startup_trials=settings.n_startup_trials,
        constant_liar=True,
    )
    study = optuna.create_study(sampler=sampler)
    spaces = {name: _distribution(optuna, domain) for name, domain in settings.parameters.items()}
    study.add_trials([_told(optuna, settings, spaces, trial) for trial in known])
    asked = study.ask(spaces).params
    return {
        name: _within(domain, asked[name]) if isinstance(domain, Range) else domain[asked[name]]
        for name, domain in settings.parameters.items()
    }


def load_optuna() -> Any:
    """Return the optuna package, silent; raise `RecipeError` where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise RecipeError(
            "search: tpe needs Optuna, which is not installed",
            fix="pip install 'tuneline[ray]', or take search: random",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _distribution(optuna: Any, domain: Any) -> Any:
    kinds = optuna.distributions
    if not isinstance(domain, Range):  # by its place: Optuna takes no lists as values
        return kinds.CategoricalDistribution(tuple(range(len(domain))))
    kind = kinds.IntDistribution if domain.whole else kinds.FloatDistribution
    return kind(domain.low, domain.high, log=domain.log)


def _told(optuna: Any, settings: SweepSettings, spaces: Any, trial: Trial) -> Any:
    states, result = optuna.trial.TrialState, trial.result
    state = states.RUNNING
    if result is not None:
        names = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        state = names[result.state]
    params = {
        name: value if isinstance(domain, Range) else domain.index(value)
        for (name, domain), value in zip(
            settings.parameters.items(), trial.spec.parameters.values(), strict=True
        )
    }
    return optuna.trial.create_trial(
        state=state,
        params=params,
        distributions=spaces,
        value=result.value if result is not None and result.state == "complete" else None,
        intermediate_values=trial.curve() if state != states.RUNNING else {},
    )


SEARCHES: dict[str, Callable[[SweepSettings, int, int, Sequence[Trial]], Point]] = {
    "grid": _grid,
    "random": _random,
    "tpe": _tpe,
}
