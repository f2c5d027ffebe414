"""Which graphs an exported folder holds: those of a decoder, or of an encoder-decoder."""

from pathlib import Path

from components.runtime.ort import OrtLM
from components.runtime.ort_seq2seq import ENCODER, OrtSeq2Seq
from components.runtime.session import Device

OpenLM = OrtLM | OrtSeq2Seq


def open_lm(folder: Path, *, threads: int = 0, device: Device = "cpu") -> OpenLM:
    """Open an exported folder that answers with text; raise `ModelError` if it is none."""
    kind = OrtSeq2Seq if (folder / ENCODER).is_file() else OrtLM
    return kind(folder, threads=threads, device=device)
