"""The random state that dropout draws from, to keep and to put back."""

from typing import Any

import torch


def random_state() -> dict[str, Any]:
    """Return the state of torch's generators: the CPU's, and one for each CUDA device."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"random": torch.get_rng_state(), "random_cuda": cuda}


def put_back(state: dict[str, Any]) -> None:
    """Put the generators into a state that `random_state` returned."""
    torch.set_rng_state(state["random"])
    if state["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random_cuda"])
