"""What is scored and how, for each kind of model: one entry a kind (`model.task_type`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from components.contracts.errors import RecipeError
from components.contracts.events import Events
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.contracts.task_types import CAUSAL_LM, MASKED_LM, SEQ_2_SEQ_LM, SEQ_CLS
from components.evaluation.settings import EvaluationSettings
from components.scoring.items import Item, Score

if TYPE_CHECKING:
    from components.model.torch_classifier import TorchClassifier
    from components.model.torch_lm import TorchLM

FROM_NOTHING = ("perplexity", "lm_eval")
"""Tasks that score texts which answer to nothing."""

Loaders = dict[str, Callable[[], Any]]
"""How to load each model, so that one at a time is in memory."""


@dataclass(frozen=True)
class Kind:
    """`facts` are what the evaluation says of base and tuned besides their figures.

    `check` raises `RecipeError` for settings that this kind of model cannot be put to.
    """

    models: Callable[[BaseModelFolder, Tokens, Adapter], Loaders]
    score: Callable[[Any, Sequence[Item], Tokens, Events, str], list[Score]]
    facts: Callable[[Tokens, Adapter], dict[str, Any]]
    check: Callable[[EvaluationSettings], None]


def ready() -> "Any":
    """Choose how products are made, and return the device to score on."""
    import torch

    from components.model.device import keep_few_kernels, pick_device

    keep_few_kernels()
    # oneDNN's fp32 kernels: twice the speed of the default ones on CPU, still fp32 accumulation.
    torch.set_float32_matmul_precision("medium")
    return pick_device()


def decoders(base: BaseModelFolder, tokens: Tokens, adapter: Adapter) -> Loaders:
    """Return how to load base and tuned decoder."""
    del tokens
    return models(base, adapter)


def models(base: BaseModelFolder, adapter: Adapter) -> Loaders:
    """Return how to load each decoder."""
    import torch

    from components.model.base import load_base
    from components.model.merge import load_merged
    from components.model.torch_lm import TorchLM

    device = ready()

    def plain() -> "TorchLM":
        return TorchLM(load_base(base.model, dtype=torch.float32, device=device))

    return {
        "base": plain,
        "tuned": lambda: TorchLM(load_merged(base.model, adapter.model)[0].to(device)),
    }


def score_answers(
    lm: Any, items: Sequence[Item], tokens: Tokens, events: Events, label: str
) -> list[Score]:
    """Score a decoder's answers and the rows' own text."""
    from components.scoring.score import score_items

    prefix = int(tokens.facts["prefix_token"])
    return score_items(lm, items, prefix_token=prefix, events=events, label=label)


def encoder_decoders(base: BaseModelFolder, tokens: Tokens, adapter: Adapter) -> Loaders:
    """Return how to load base and tuned encoder-decoder."""
    del tokens
    from components.model.opened import open_base, open_tuned

    device = ready()
    return {
        "base": lambda: open_base(base, device),
        "tuned": lambda: open_tuned(base, adapter, device),
    }


def score_targets(
    lm: Any, items: Sequence[Item], tokens: Tokens, events: Events, label: str
) -> list[Score]:
    """Score what an encoder-decoder writes to the sources; it writes no text to nothing."""
    del tokens
    from components.scoring.score import score_items

    return score_items(lm, items, prefix_token=0, events=events, label=label)


def classifiers(base: BaseModelFolder, tokens: Tokens, adapter: Adapter) -> Loaders:
    """Return how to load the encoder before and after training, with a head for the labels."""
    from components.model.classifier import load_classifier, load_merged_classifier
    from components.model.torch_classifier import TorchClassifier

    device, labels = ready(), tokens.facts["labels"]

    def plain() -> "TorchClassifier":
        return TorchClassifier(load_classifier(base.model, labels).model.to(device))

    def tuned() -> "TorchClassifier":
        model, _ = load_merged_classifier(base.model, adapter.model, labels)
        return TorchClassifier(model.to(device))

    return {"base": plain, "tuned": tuned}


def score_texts(
    model: Any, items: Sequence[Item], tokens: Tokens, events: Events, label: str
) -> list[Score]:
    """Score the labels that a classifier gives the texts."""
    del tokens
    from components.scoring.labels import score_labels

    return score_labels(model, items, events=events, label=label)


def masked_models(base: BaseModelFolder, tokens: Tokens, adapter: Adapter) -> Loaders:
    """Return how to load the encoder with its masked-language head, before and after training."""
    del tokens
    from components.model.masked import load_masked, load_merged_masked
    from components.model.torch_masked import TorchMasked

    device = ready()
    return {
        "base": lambda: TorchMasked(load_masked(base.model, device=device)),
        "tuned": lambda: TorchMasked(load_merged_masked(base.model, adapter.model)[0].to(device)),
    }


def score_hidden_tokens(
    model: Any, items: Sequence[Item], tokens: Tokens, events: Events, label: str
) -> list[Score]:
    """Score the tokens that are hidden in the texts: the same for every model."""
    from components.model.hidden import hidden_in
    from components.scoring.masked import score_hidden

    return score_hidden(model, items, hidden_in(items, tokens.facts), events=events, label=label)


def about_text(tokens: Tokens, adapter: Adapter) -> dict[str, Any]:
    """Return after which token text is scored."""
    del adapter
    return {"prefix_token": int(tokens.facts["prefix_token"])}


def about_source(tokens: Tokens, adapter: Adapter) -> dict[str, Any]:
    """Return of what kind the models are."""
    del tokens, adapter
    return {"task_type": SEQ_2_SEQ_LM}


def about_masks(tokens: Tokens, adapter: Adapter) -> dict[str, Any]:
    """Return of what kind the models are, and how tokens are hidden from them."""
    del tokens, adapter
    from components.model.hidden import EVALUATED

    return {"task_type": MASKED_LM, "masking": dict(EVALUATED)}


def about_head(tokens: Tokens, adapter: Adapter) -> dict[str, Any]:
    """Return the labels, and what the base is that the tuned model is compared with."""
    untrained = bool(adapter.facts.get("new_modules"))
    return {
        "labels": list(tokens.facts["labels"]),
        "task_type": SEQ_CLS,
        "base_is": "base (its head is untrained)" if untrained else "base",
    }


def anything(settings: EvaluationSettings) -> None:
    del settings


def no_texts(settings: EvaluationSettings) -> None:
    """Raise `RecipeError` if a task wants text written from nothing, as only a decoder can."""
    asked = [*settings.tasks, *settings.guards]
    named = ["perplexity"] if settings.perplexity is not None else []
    named += [one.name or one.task for one in asked if one.task in FROM_NOTHING]
    if named:
        raise RecipeError(
            f"evaluation names {', '.join(named)}, which reads texts as only a decoder can, but "
            f"model.task_type is {SEQ_2_SEQ_LM}",
            fix="leave perplexity and lm_eval out; answers have a perplexity of their own",
        )


def encoders_only(settings: EvaluationSettings, task_type: str) -> None:
    """Raise `RecipeError` if a task is named: all of them ask a model that writes."""
    named = [*settings.names(), *(["bias"] if settings.bias is not None else [])]
    if named:
        raise RecipeError(
            f"evaluation names {', '.join(named)}, which only a decoder can answer, but "
            f"model.task_type is {task_type}",
            fix="leave perplexity, tasks and bias out of the evaluation section",
        )


KINDS: dict[str, Kind] = {
    CAUSAL_LM: Kind(decoders, score_answers, about_text, anything),
    MASKED_LM: Kind(
        masked_models,
        score_hidden_tokens,
        about_masks,
        partial(encoders_only, task_type=MASKED_LM),
    ),
    SEQ_2_SEQ_LM: Kind(encoder_decoders, score_targets, about_source, no_texts),
    SEQ_CLS: Kind(classifiers, score_texts, about_head, partial(encoders_only, task_type=SEQ_CLS)),
}
