"""What a machine's accelerator and libraries are, for reports and for figures that name them."""

import importlib.metadata
import importlib.util
import platform
from typing import Any

PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "triton", "trl")


def capability() -> dict[str, Any]:
    """Return device, its memory in GB and abilities, and versions (`None`: not installed)."""
    import torch

    found: dict[str, Any] = {"machine": platform.machine(), "python": platform.python_version()}
    found |= {name: version(name) for name in PACKAGES}
    if not torch.cuda.is_available():
        return found | {"device": "cpu", "gpus": 0}
    about = torch.cuda.get_device_properties(torch.cuda.current_device())
    return found | {
        "device": about.name,
        "gpus": torch.cuda.device_count(),
        "memory_gb": round(about.total_memory / 1e9, 1),
        "capability": f"{about.major}.{about.minor}",
        "bf16": torch.cuda.is_bf16_supported(),
        "varlen_attention": importlib.util.find_spec("torch.nn.attention.varlen") is not None
        and (about.major, about.minor) >= (8, 0),
        "cuda": torch.version.cuda,
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if nccl() else None,
    }


def version(package: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def nccl() -> bool:
    """Say whether torch can talk between GPUs."""
    import torch.distributed as dist

    return dist.is_available() and dist.is_nccl_available()
