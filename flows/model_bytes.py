"""A name for a model's bytes and the way it is asked: the same name, the same answers."""

import hashlib
import json
from dataclasses import asdict

from components.contracts.artefacts import sha256
from flows.model_ref import Found


def model_bytes(found: Found) -> str:
    """Return a SHA-256 over the folder's files and the shape."""
    files = sorted(file for file in found.folder.rglob("*") if file.is_file())
    told = {file.relative_to(found.folder).as_posix(): sha256(file) for file in files}
    whole = json.dumps([told, asdict(found.shape)], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()
