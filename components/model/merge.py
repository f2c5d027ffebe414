"""The tuned model as one: the adapter merged into the full-precision base."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.model.base import load_base
from components.model.full import is_full
from components.model.pruning import keep_pruned, prune, read_pruning
from components.model.quantized import hush

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel


def load_merged(
    base: Path, adapter: Path, load: "Callable[[Path], PreTrainedModel] | None" = None
) -> tuple["PreTrainedModel", Any]:
    """Return (model in fp32 on the CPU with the adapter merged in, tokenizer).

    Never merges into a 4-bit base: that rounds the adapter away. After full fine-tuning `adapter`
    is the tuned model itself. Weights that were pruned before training are zero here too. `load`
    loads a model folder in fp32 on the CPU (left out: as a decoder).

    Raises:
        ModelError: the adapter does not fit the base or merging gives non-finite weights.
    """
    hush()
    from peft import PeftModel

    source = adapter if is_full(adapter) else base
    model = (load or load_decoder)(source)
    if source is adapter:
        return model.eval(), load_tokenizer(base)
    pruning = read_pruning(adapter)
    masks = {} if pruning is None else prune(model, pruning)
    try:
        tuned = PeftModel.from_pretrained(model, adapter)
        merged = tuned.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"the adapter {adapter} cannot be merged into {base}: {error}") from error
    keep_pruned(merged, masks)
    return merged.eval(), load_tokenizer(base)


def load_decoder(folder: Path) -> "PreTrainedModel":
    """Return the causal model in `folder` in fp32 on the CPU."""
    import torch

    return load_base(folder, dtype=torch.float32, device=torch.device("cpu"))


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a model folder, without asking any hub."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)
