"""What may be tried: parameters held against the recipe before the first trial."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from components.contracts.errors import RecipeError, did_you_mean
from components.training.objective_settings import ObjectiveSettings
from components.training.settings import TrainingSettings
from flows.recipe_errors import allowed_keys, explain
from flows.sweep_settings import Domain, Range, SweepSettings

SECTION = "training"
MEANING = {*ObjectiveSettings.model_fields, "max_eval_samples"}
"""Settings that change what a validation loss means: trials that differ in them do not compare."""

FORBIDDEN = {"eval_steps", "resume_from_checkpoint", "num_processes", "fsdp"}
"""Settings that do not make another model, or that say how a trial runs."""

Point = dict[str, Any]
"""One value for each parameter of a sweep."""


def parse_parameters(words: Sequence[str]) -> dict[str, Domain]:
    """Return the domains that `KEY=A,B,C`, `KEY=LOW..HIGH` and `KEY=log:LOW..HIGH` stand for.

    Raises `RecipeError` for a word of another shape.
    """
    found: dict[str, Domain] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not text.strip():
            raise RecipeError(
                f"--param {word}: it should be KEY=VALUE,VALUE or KEY=LOW..HIGH",
                fix="for example --param training.learning_rate=1e-4,3e-4",
            )
        found[key.strip()] = _domain(key.strip(), text.strip())
    return found


def _domain(key: str, text: str) -> Domain:
    bare = text.removeprefix("log:")
    low, dots, high = bare.partition("..")
    if not dots:
        return tuple(_value(one) for one in _split(text))
    try:
        return Range(low=_value(low), high=_value(high), log=bare != text)
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or key}: {one['msg']}" for one in error.errors()
        )
        raise RecipeError(f"--param {key}={text}: {told}") from error


def _split(text: str) -> list[str]:
    """Cut at commas outside of brackets, so that a value may be a list."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _value(text: str) -> Any:
    """Read a value as YAML does, and `1e-4` as the number that it is meant to be."""
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def need_known(settings: SweepSettings, training: TrainingSettings, place: str) -> None:
    """Raise `RecipeError` with all faults of the parameters at once: before hours of trials."""
    faults = [fault for key in settings.parameters for fault in _key_faults(key)]
    if not faults:
        faults = [
            f"{key}: {fault}"
            for key, domain in settings.parameters.items()
            for fault in _value_faults(key, domain, training)
        ]
    if training.eval_steps is None:
        faults.append("trials are compared by their validation loss, but it is never taken")
    if faults:
        fix = "set training.eval_steps" if training.eval_steps is None else f"mend {place}"
        raise RecipeError("\n".join(f"{place}: {fault}" for fault in faults), fix=fix)


def _key_faults(key: str) -> Iterable[str]:
    section, _, path = key.partition(".")
    if section != SECTION or not path:
        every = [f"{SECTION}.{name}" for name in TrainingSettings.model_fields]
        near = did_you_mean(key, every) or did_you_mean(f"{SECTION}.{key}", every)
        yield (
            f"{key}: a sweep varies settings of `{SECTION}`, since other sections change what the "
            f"validation loss is taken of{near}"
        )
        return
    names = path.split(".")
    for depth, name in enumerate(names):
        allowed = allowed_keys(TrainingSettings, tuple(names[:depth]))
        if name not in allowed:
            yield (
                f"{key}: unknown key{did_you_mean(name, allowed)} (allowed: {', '.join(allowed)})"
            )
            return
    if names[0] in MEANING:
        yield f"{key}: it changes what the validation loss means, so trials could not be compared"
    if names[0] in FORBIDDEN:
        yield f"{key}: it says how a trial runs or is measured, and is the same for all"


def _value_faults(key: str, domain: Domain, training: TrainingSettings) -> Iterable[str]:
    values = (domain.low, domain.high) if isinstance(domain, Range) else domain
    seen: list[str] = []
    for value in values:
        try:
            made = settings_at(training, {key: value})
        except RecipeError as error:
            yield error.problem
            continue
        took = json.dumps(_at(made, key), default=str)
        if took in seen:
            yield f"the value {value!r} stands there twice"
        seen.append(took)


def settings_at(training: TrainingSettings, point: Mapping[str, Any]) -> TrainingSettings:
    """Return the training settings of a trial; raise `RecipeError` where they do not fit."""
    data = training.model_dump()
    for key, value in point.items():
        _put(data, key.split(".")[1:], value)
    try:
        return TrainingSettings.model_validate(data)
    except ValidationError as error:
        told = explain(error, TrainingSettings, data, "{}", SECTION)
        raise RecipeError("; ".join(told)) from error


def _put(data: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        if not isinstance(data.get(name), dict):
            data[name] = {}
        data = data[name]
    data[path[-1]] = value


def _at(settings: Any, key: str) -> Any:
    for name in key.split(".")[1:]:
        settings = getattr(settings, name)
    return settings
