"""A variant made of a model whose norms and products were smoothed before rounding."""

import shutil
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens
from components.contracts.task_types import CAUSAL_LM, task_type_of
from components.export.builder import quantization_of
from components.export.calibrated import read_samples
from components.export.settings import Calibration, ExportSettings
from components.quantization.samples import Samples
from components.quantization.smoothing import Smoothed, smooth

ROWS = Calibration(nsamples=32)
"""The rows whose largest activations count: more cost time and change few factors."""


def alpha_of(variant: str, settings: ExportSettings) -> float | None:
    """Return how much of the outliers of a variant goes from activations into weights."""
    quantization = quantization_of(variant, settings)
    return None if quantization is None else quantization.smoothing


def check_smoothed(base: BaseModelFolder, tokens: Tokens | None, settings: ExportSettings) -> None:
    """Raise `ModelError` if a variant is to be smoothed and this model cannot be."""
    wanted = [one for one in settings.variants if alpha_of(one, settings) is not None]
    if wanted and task_type_of(base) != CAUSAL_LM:
        raise ModelError(
            f"export.{wanted[0]}.smoothing is only for decoders "
            f"(this model is trained for {task_type_of(base)})",
            fix="leave it out",
        )
    if wanted and tokens is None:
        raise ModelError(
            f"export.{wanted[0]}.smoothing is set, but there are no rows to see activations of",
            fix="run the line's tokenize stage first, or leave smoothing out",
        )


def source_of(
    variant: str, merged: Path, tokens: Tokens | None, settings: ExportSettings, context: Context
) -> tuple[Path, Smoothed | None]:
    """Return the model folder that a variant is made of: `merged`, or a smoothed one beside it.

    Raises `ModelError` where smoothing would change what the model says.
    """
    alpha = alpha_of(variant, settings)
    if alpha is None or tokens is None:
        return merged, None
    samples = read_samples(tokens, ROWS)
    context.events.note(f"{variant}: smoothing over {len(samples.rows)} rows")
    folder = smoothed_folder(merged)
    return folder, write_smoothed(merged, folder, samples, alpha)


def smoothed_folder(merged: Path) -> Path:
    """Return where the smoothed model lies while its file is made."""
    return merged.parent / "smoothed"


def write_smoothed(merged: Path, folder: Path, samples: Samples, alpha: float) -> Smoothed:
    """Write the model folder `merged` to `folder`, smoothed over `samples`."""
    from components.model.merge import load_decoder

    model = load_decoder(merged).eval()
    smoothed = smooth(model, samples, alpha)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    for file in merged.iterdir():  # its configs as they are, and the tokenizer
        if file.is_file() and "safetensors" not in file.name:
            shutil.copyfile(file, folder / file.name)
    return smoothed


def facts_of(smoothed: Smoothed | None) -> dict[str, Any]:
    """Return what verification has to know: how the file's norms came by their weights."""
    if smoothed is None:
        return {}
    return {"smoothed": {"norms": len(smoothed.norms), "offset": smoothed.offset}}
