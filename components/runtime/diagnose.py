"""What ONNX Runtime really does on this machine, told by running something."""

import base64
from pathlib import Path
from tempfile import TemporaryDirectory

from components.contracts.errors import ModelError
from components.runtime.session import PROVIDERS, Device, open_session

IDENTITY = base64.b64decode(
    "CAg6NwoQCgF4EgF5IghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0="
)
"""An ONNX file of one operation: y = x, one float."""


def listed_devices() -> list[Device]:
    """Return the devices that ONNX Runtime says it can use; raise `ImportError` without it.

    It lists CUDA wherever its GPU package is installed, so this is no proof.
    """
    import onnxruntime

    there = onnxruntime.get_available_providers()
    devices: list[Device] = [device for device in ("cpu", "cuda") if PROVIDERS[device] in there]
    return devices


def fault_of(device: Device) -> ModelError | None:
    """Run a file on a device; return what went wrong, or None."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "identity.onnx"
        file.write_bytes(IDENTITY)
        try:
            session = open_session(file, 1, device)
            import numpy as np

            session.run(None, {"x": np.zeros(1, np.float32)})
        except ModelError as error:
            return error
        # A broken installation fails in any way it likes.
        except Exception as error:  # noqa: BLE001
            return ModelError(f"ONNX Runtime fails on {device}: {error}")
    return None
