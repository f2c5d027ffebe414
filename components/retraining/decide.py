"""The decision of a tick: a pure function from facts to skip, evaluate only or fine-tune."""

from components.retraining.facts import (
    BudgetFacts,
    DataFacts,
    Decision,
    Facts,
    Half,
    Rescored,
    Start,
)
from components.retraining.settings import RetrainSettings


def decide(facts: Facts, settings: RetrainSettings) -> Decision:
    """Return what to do and why. The first of these that holds:

    1. rows that are not fit, or that were judged or have failed already: skip
    2. no champion: fine-tune
    3. the champion saw these rows: skip
    4. enough rows changed, or any for an old champion, or it was found worse: fine-tune
    5. rows of another kind, on which it was not scored yet: evaluate only
    6. else: skip

    A fine-tune that the month's hours do not allow is an evaluation, once, and then a skip.
    """
    stopped = hindrances(facts, settings)
    if stopped:
        return Decision(action="skip", reasons=stopped)
    if facts.champion is None:
        return affordable(facts, settings, ("there is no champion yet",), "fresh")
    if not facts.changed:
        seen = f"the rows are those that the champion (version {facts.champion.version}) saw"
        return Decision(action="skip", reasons=(seen, *age(facts, settings)))
    if facts.data is None:
        raise ValueError("rows that have changed must be compared before a decision")
    grown = growth(facts, facts.data, settings)
    worse = losses(facts.rescored, settings)
    far = distance(facts.data, settings)
    if grown or worse:
        start, why = beginning(facts, settings, drifted=bool(far))
        return affordable(facts, settings, (*grown, *worse, *far, *why), start)
    few = (too_few(facts.data, settings),)
    if far and facts.rescored is None:
        return Decision(action="evaluate only", reasons=(*few, *far))
    return Decision(action="skip", reasons=(*few, *far, *held(facts.rescored)))


def hindrances(facts: Facts, settings: RetrainSettings) -> tuple[str, ...]:
    """Return why these rows are not to be trained on at all."""
    if facts.fault is not None:
        return (f"the rows are not fit to train on: {facts.fault}",)
    if facts.tried is not None:
        said = f"version {facts.tried.version} was made of these very rows already"
        return (f"{said} (verdict: {facts.tried.verdict}) and is not champion",)
    if facts.failures >= settings.max_attempts:
        return (
            f"{facts.failures} attempts on these very rows have failed "
            f"(max_attempts {settings.max_attempts}): `tuneline show` says why",
        )
    return ()


def age(facts: Facts, settings: RetrainSettings) -> tuple[str, ...]:
    """Return what there is to say of an old champion that has nothing new to learn."""
    if facts.champion is None or facts.champion.age_days <= settings.max_age_days:
        return ()
    return (f"it is {days(facts.champion.age_days)} old, but has no row left to learn from",)


def growth(facts: Facts, data: DataFacts, settings: RetrainSettings) -> tuple[str, ...]:
    """Return why the rows that came or went are worth a fine-tune, if they are."""
    if not data.known:
        return ("the rows that the champion saw are not to be had: all count as new",)
    count, share = data.changed_rows, data.changed_share
    if count >= settings.min_new_rows and share >= settings.min_new_share:
        least = f"{settings.min_new_rows} and {settings.min_new_share:.0%}"
        return (f"{came(data)} (at least {least} are asked for)",)
    champion = facts.champion
    if champion is not None and champion.age_days > settings.max_age_days and count:
        return (
            f"the champion is {days(champion.age_days)} old "
            f"(max_age_days {settings.max_age_days:g}), and {came(data)}",
        )
    return ()


def losses(found: Rescored | None, settings: RetrainSettings) -> tuple[str, ...]:
    """Return how much worse the champion is on fresh rows, if it is by more than is allowed.

    Of accuracy the upper end of the interval counts: a few rows that went wrong are no evidence.
    """
    if found is None:
        return ()
    known, fresh = found.known, found.fresh
    if known.accuracy is not None and fresh.accuracy_interval is not None:
        if known.accuracy - fresh.accuracy_interval[1] > settings.max_accuracy_loss:
            limit = f"{100 * settings.max_accuracy_loss:g} points"
            return (f"{both(found)}: worse by more than {limit}",)
        return ()
    if known.bits_per_byte is None or fresh.bits_per_byte is None:
        return ()
    if fresh.bits_per_byte - known.bits_per_byte > settings.max_bits_per_byte_rise:
        return (f"{both(found)}: worse by more than {settings.max_bits_per_byte_rise:g}",)
    return ()


def distance(data: DataFacts, settings: RetrainSettings) -> tuple[str, ...]:
    """Return in what the rows are of another kind than those that the champion saw."""
    told = [
        f"{name} {figure:.3g} (max_drift {settings.max_drift:g})"
        for name, figure in sorted(data.drift.items())
        if figure > settings.max_drift
    ]
    if data.label_shift is not None and data.label_shift > settings.max_label_shift:
        shift, limit = 100 * data.label_shift, 100 * settings.max_label_shift
        told.append(f"a label's share moved by {shift:.1f} points (max_label_shift {limit:g})")
    return (f"the rows have drifted: {', '.join(told)}",) if told else ()


def beginning(facts: Facts, settings: RetrainSettings, *, drifted: bool) -> tuple[Start, list[str]]:
    """Return what a fine-tune begins from, and why not from the champion where that was wished."""
    if settings.start == "fresh":
        return "fresh", []
    if drifted:
        return "fresh", ["a fresh adapter: the champion's was trained on rows of another kind"]
    if facts.champion is None or not facts.champion.adapter:
        return "fresh", ["a fresh adapter: the champion's is not to be had here, or does not fit"]
    return "champion", [f"going on from the adapter of version {facts.champion.version}"]


def affordable(
    facts: Facts, settings: RetrainSettings, reasons: tuple[str, ...], start: Start
) -> Decision:
    """Return a fine-tune if the month's hours allow it, else what can be done without."""
    limit, budget = settings.max_hours_per_month, facts.budget
    if limit is None or budget is None or budget.used_hours + budget.forecast_hours <= limit:
        return Decision(action="fine-tune", reasons=reasons, start=start)
    reasons = (*reasons, overdrawn(budget, limit))
    if facts.champion is not None and facts.rescored is None:
        return Decision(action="evaluate only", reasons=reasons)
    return Decision(action="skip", reasons=reasons)


def overdrawn(budget: BudgetFacts, limit: float) -> str:
    what = "hours on the accelerator" if budget.accelerator else "hours of training"
    return (
        f"no budget: {budget.used_hours:.2f} {what} this month, and a fine-tune takes about "
        f"{budget.forecast_hours:.2f} (max_hours_per_month {limit:g})"
    )


def too_few(data: DataFacts, settings: RetrainSettings) -> str:
    share = f"{settings.min_new_share:.0%}"
    return f"{came(data)}: fewer than {settings.min_new_rows}, or than {share} of all"


def held(found: Rescored | None) -> tuple[str, ...]:
    return () if found is None else (f"{both(found)}: it holds",)


def came(data: DataFacts) -> str:
    """Return how many rows came and went, in words."""
    gone = f" and {data.gone_rows:,} went" if data.gone_rows else ""
    share = f"{data.changed_share:.1%}"
    return f"{data.new_rows:,} new rows came{gone}, {share} of {data.rows:,}"


def both(found: Rescored) -> str:
    known = f"{figure(found.known)} on the held-out rows that it was judged on"
    return f"the champion has {known}, {figure(found.fresh)} on fresh ones"


def figure(half: Half) -> str:
    """Return what was scored on one part of the rows, in words."""
    if half.accuracy is not None and half.accuracy_interval is not None:
        low, high = half.accuracy_interval
        return f"accuracy {half.accuracy:.3f} ({low:.3f} … {high:.3f}, {half.items} rows)"
    if half.bits_per_byte is not None:
        return f"{half.bits_per_byte:.4f} bits per byte ({half.items} rows)"
    return f"no figure ({half.items} rows)"


def days(count: float) -> str:
    return f"{count:.0f} days"
