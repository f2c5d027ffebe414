"""A GGUF file as a full-precision transformers folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from components.contracts.artefacts import need_space
from components.contracts.errors import SourceError
from components.contracts.events import Events


def convert(file: Path, folder: Path, events: Events) -> None:
    """Write `file` to `folder` in float32 through transformers' GGUF reader, with its tokenizer."""
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise SourceError(f"{file.name} is not a GGUF file: it does not begin with 'GGUF'")
    events.note(f"reading {file.name} and writing it in full precision")
    with reading_once():
        write(file, folder)


def write(file: Path, folder: Path) -> None:
    """Write the model and its tokenizer to `folder`; raise `SpaceError` where there is no room."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    place, name = str(file.parent), file.name
    model = AutoModelForCausalLM.from_pretrained(
        place, gguf_file=name, dtype=torch.float32, local_files_only=True
    )
    # The weights are full precision now; with these marks left, save_pretrained refuses.
    del model.config.quantization_config
    del model.hf_quantizer
    # Known exactly only now: the parameters stand in the file at mixed widths.
    need_space(folder, model.num_parameters() * 4, "the base model in full precision")
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(place, gguf_file=name, local_files_only=True)
    tokenizer.save_pretrained(folder)


@contextmanager
def reading_once() -> Iterator[None]:
    """Inside the block, the gguf package parses each file and makes each table of names once.

    transformers parses the file for config, weights and tokenizer, and makes the same table of
    names for every module of the model: half of the time that reading took.
    """
    import gguf

    package: Any = gguf
    before = package.GGUFReader, package.get_tensor_name_map
    package.GGUFReader, package.get_tensor_name_map = (lru_cache(call) for call in before)
    try:
        yield
    finally:
        package.GGUFReader, package.get_tensor_name_map = before
