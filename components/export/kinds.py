"""How each kind of model is merged and written: one entry a kind (`model.task_type`)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError, did_you_mean
from components.contracts.kinds import Adapter, BaseModelFolder
from components.contracts.task_types import (
    CAUSAL_LM,
    ENCODERS,
    MASKED_LM,
    SEQ2SEQ,
    SEQ_2_SEQ_LM,
    SEQ_CLS,
    task_type_of,
)
from components.export import seq2seq, traced_classifier, traced_decoder, traced_masked
from components.export.architectures import ARCHITECTURES, TRACED
from components.export.settings import ExportSettings
from components.export.writers import Write, by_builder, by_tracing

Open = Callable[[Path, ExportSettings], Write]
"""Makes a model folder ready and returns what writes its variants."""


@dataclass(frozen=True)
class Kind:
    """`merged` returns the tuned model and its tokenizer, from base and adapter.

    `writers` has an entry for every name that `named` may give a model folder that can be exported.
    """

    merged: Callable[[BaseModelFolder, Adapter], tuple[Any, Any]]
    named: Callable[[Path], str]
    writers: Mapping[str, Open]

    def writer(self, model: Path) -> Open:
        """Return what opens a writer; raise `ModelError` naming what can be exported."""
        found = self.named(model)
        if found in self.writers:
            return self.writers[found]
        raise ModelError(
            f"{found} cannot be exported to ONNX{did_you_mean(found, self.writers)}",
            fix=f"use a base model of one of: {', '.join(sorted(self.writers))}",
        )


def architecture(model: Path) -> str:
    """Return the class name in a model folder's config."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return str((config.get("architectures") or ["a model without architecture"])[0])


def family(model: Path) -> str:
    """Return the `model_type` in a model folder's config."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return str(config.get("model_type", "a model without model_type"))


def merged_decoder(base: BaseModelFolder, adapter: Adapter) -> tuple[Any, Any]:
    """Return the tuned decoder, with a cache as inference wants it, and its tokenizer."""
    from components.model.merge import load_merged

    model, tokenizer = load_merged(base.model, adapter.model)
    model.config.use_cache = True
    return model, tokenizer


def merged_classifier(base: BaseModelFolder, adapter: Adapter) -> tuple[Any, Any]:
    """Return the tuned classifier with the names of its labels, and its tokenizer."""
    from components.model.classifier import load_merged_classifier

    return load_merged_classifier(base.model, adapter.model, adapter.facts["labels"])


def merged_seq2seq(base: BaseModelFolder, adapter: Adapter) -> tuple[Any, Any]:
    """Return the tuned encoder-decoder, with a cache as inference wants it, and its tokenizer."""
    from components.model.seq2seq import load_merged_seq2seq

    model, tokenizer = load_merged_seq2seq(base.model, adapter.model)
    model.config.use_cache = True
    return model, tokenizer


def merged_masked(base: BaseModelFolder, adapter: Adapter) -> tuple[Any, Any]:
    """Return the tuned masked-language model and its tokenizer."""
    from components.model.masked import load_merged_masked

    return load_merged_masked(base.model, adapter.model)


DECODERS: dict[str, Open] = {
    **dict.fromkeys(ARCHITECTURES, by_builder),
    **dict.fromkeys(TRACED, by_tracing(traced_decoder.write_graph)),
}

CLASSIFIERS: dict[str, Open] = dict.fromkeys(
    ENCODERS, by_tracing(traced_classifier.write_graph, "config.json")
)

MASKED: dict[str, Open] = dict.fromkeys(
    ENCODERS, by_tracing(traced_masked.write_graph, "config.json")
)

SEQ2SEQS: dict[str, Open] = dict.fromkeys(SEQ2SEQ, seq2seq.open_writer)

KINDS: dict[str, Kind] = {
    CAUSAL_LM: Kind(merged_decoder, architecture, DECODERS),
    MASKED_LM: Kind(merged_masked, family, MASKED),
    SEQ_2_SEQ_LM: Kind(merged_seq2seq, family, SEQ2SEQS),
    SEQ_CLS: Kind(merged_classifier, family, CLASSIFIERS),
}


def kind_of(base: BaseModelFolder) -> Kind:
    """Return how a base and what was trained on it are exported."""
    return KINDS[task_type_of(base)]
