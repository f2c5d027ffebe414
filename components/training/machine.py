"""The memory that this machine can give to a training."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CGROUP = Path("/sys/fs/cgroup")


def resident_bytes() -> int:
    """Return the resident size of this process."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def room_bytes(device: "torch.device") -> int:
    """Return the bytes that a new process could have: on the device, or in main memory.

    A limit set on a container counts, and what this process holds, as it ends before.
    """
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    import psutil

    available, limit = int(psutil.virtual_memory().available), cgroup_left(CGROUP)
    return min(available, available if limit is None else limit) + resident_bytes()


def cgroup_left(folder: Path) -> int | None:
    """Return the bytes left below the limit of control group (v2) `folder`; `None` if no limit."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - used)
