"""Opening an exported file in ONNX Runtime, on exactly the device that was asked for."""

import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from components.contracts.errors import ModelError

Device = Literal["cpu", "cuda"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


RECORD_PROVIDERS = "session.record_ep_graph_assignment_info"
"""The option that lets a session tell where each node runs."""


def open_session(file: Path, threads: int, device: Device) -> Any:
    """Open an inference session on exactly the device asked for; raise `ModelError` otherwise."""
    check_packages(installed_packages())
    import onnxruntime

    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise ModelError(
            f"ONNX Runtime has no {provider} here: {file} was not run",
            fix="install the gpu extra (`pip install -e '.[gpu]'`), or use device cpu",
        )
    options = onnxruntime.SessionOptions()
    # Its own default counts cores, and in a virtual machine it takes two of them for one.
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry(RECORD_PROVIDERS, "1")
    providers = [provider] if device == "cpu" else [provider, PROVIDERS["cpu"]]
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=providers)
    # Its errors share no parent but Exception, and each means that this file does not run.
    except Exception as error:
        raise ModelError(
            f"ONNX Runtime cannot open {file}: {error}", fix="run the export again"
        ) from error
    # Without its CUDA libraries the runtime lists CUDA, then runs on the CPU with only a warning.
    if session.get_providers()[0] != provider:
        raise ModelError(
            f"{provider} was asked for, but {file} would run on {session.get_providers()[0]}: "
            "it was not run",
            fix="install CUDA and cuDNN as the gpu extra names them, or use device cpu",
        )
    return session


def nodes_by_provider(*sessions: Any) -> dict[str, int]:
    """Return how many nodes of open sessions' graphs run on each execution provider.

    A session for CUDA may leave single nodes to the CPU (shapes, what has no CUDA kernel); these
    are counted, and not seen in the session's list of providers.
    """
    found: dict[str, int] = {}
    parts = (part for one in sessions for part in one.get_provider_graph_assignment_info())
    for part in parts:
        found[part.ep_name] = found.get(part.ep_name, 0) + len(part.get_nodes())
    return dict(sorted(found.items()))


def check_packages(installed: Iterable[str]) -> None:
    """Raise `ModelError` unless exactly one ONNX Runtime distribution is among the names.

    The CPU and the GPU distribution write the same files: with both installed, the later one has
    broken the other, and pip sees no conflict.
    """
    found = sorted({name.lower() for name in installed} & {"onnxruntime", "onnxruntime-gpu"})
    if len(found) > 1:
        raise ModelError(
            f"{' and '.join(found)} are both installed and overwrite each other",
            fix="pip uninstall both, then install the cpu or the gpu extra",
        )
    if not found:
        raise ModelError(
            "ONNX Runtime is not installed",
            fix="install one extra: `pip install -e '.[cpu]'` or `pip install -e '.[gpu]'`",
        )


def cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def installed_packages() -> list[str]:
    return [str(found.metadata["Name"]) for found in metadata.distributions()]
