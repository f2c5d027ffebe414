"""An encoder with a head that gives a text one of several labels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.model.merge import load_merged

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEAD_SEED = 0
"""Of a head that the checkpoint does not have: training, scoring and export begin with the same."""

HEADS = ("classifier", "score")
"""What peft itself takes for the head and trains whole."""


@dataclass(frozen=True)
class Loaded:
    """A classifier in fp32, and the modules whose weights the checkpoint did not have."""

    model: "PreTrainedModel"
    untrained: tuple[str, ...]

    @property
    def modules_to_save(self) -> list[str]:
        """The new modules that are not part of what peft trains whole by itself."""
        return [name for name in self.untrained if not set(name.split(".")) & set(HEADS)]


def load_classifier(folder: Path, labels: Sequence[str]) -> Loaded:
    """Load the encoder in `folder` in fp32 on the CPU with a head for `labels`, in this order.

    A head of other labels, or none, is made anew with random weights, always the same ones. Raises
    `ModelError` if transformers cannot load the folder.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    from components.model.quantized import hush

    hush()
    names = dict(enumerate(labels))
    try:
        with without_report(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(HEAD_SEED)
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder,
                local_files_only=True,
                dtype=torch.float32,
                num_labels=len(names),
                id2label=names,
                label2id={name: index for index, name in names.items()},
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no encoder with a head for labels: {error}") from error
    model.config.problem_type = "single_label_classification"
    model.config.use_cache = False
    mismatched = [entry[0] for entry in info["mismatched_keys"]]
    missing = {key.rpartition(".")[0] for key in (*info["missing_keys"], *mismatched)}
    return Loaded(model, tuple(sorted(missing)))


@contextmanager
def without_report() -> Iterator[None]:
    """Keep transformers from listing the new weights of the head: that there are some is known."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def load_shapes_only(folder: Path, labels: Sequence[str]) -> Loaded:
    """Return the classifier in `folder` on the meta device; only its config is read."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, num_labels=len(labels))
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder} holds no encoder with a head for labels: {error}") from error
    return Loaded(model, ())


def load_merged_classifier(
    base: Path, adapter: Path, labels: Sequence[str]
) -> "tuple[PreTrainedModel, Any]":
    """Return (the tuned classifier in fp32 on the CPU, its tokenizer); see `load_merged`."""
    return load_merged(base, adapter, partial(_model, labels=labels))


def _model(folder: Path, *, labels: Sequence[str]) -> "PreTrainedModel":
    return load_classifier(folder, labels).model


def padding_id(model: Any) -> int:
    """Return the id to pad with: RoBERTa tells by it where a text ends."""
    found = model.config.pad_token_id
    return 0 if found is None else int(found)
