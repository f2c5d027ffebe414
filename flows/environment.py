"""The one place that knows environment variables and the folders of a working copy."""

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from components.contracts.errors import RecipeError

RUN_ID = "TUNELINE_RUN_ID"
"""The MLflow run of the pipeline run that a child process works for."""

QUIET = {
    "DO_NOT_TRACK": "true",  # MLflow ignores "1"
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Nothing of the line calls home."""

DEFAULTS = {
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # waiting longer is the line's own affair
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # a flow that stops beating has died
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PYTHONUNBUFFERED": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def find_root(start: Path) -> Path:
    """Return the nearest folder, from `start` upwards, that holds dvc.yaml and recipes/."""
    for folder in [start, *start.parents]:
        if (folder / "dvc.yaml").is_file() and (folder / "recipes").is_dir():
            return folder
    raise RecipeError(
        f"no project here: neither {start} nor a folder above it holds dvc.yaml and recipes/",
        fix="change into the project's folder and run again",
    )


def prepare(root: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Turn telemetry off and point Prefect and MLflow at the project, unless told otherwise."""
    environ.update(QUIET)
    for name, value in (DEFAULTS | _stores(root)).items():
        environ.setdefault(name, value)
    folder = str(Path(sys.executable).parent)
    path = environ.get("PATH", os.defpath)
    if path.split(os.pathsep)[0] != folder:  # so `python` in dvc.yaml is this interpreter
        environ["PATH"] = f"{folder}{os.pathsep}{path}"


def stay_offline(environ: MutableMapping[str, str] = os.environ) -> None:
    """Keep the Hugging Face libraries from asking the hub; call it before they are imported."""
    environ["HF_HUB_OFFLINE"] = "1"


def child_environment(run_id: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a stage that works for an open run."""
    return {**environ, RUN_ID: run_id}


def run_id(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the MLflow run that the calling flow opened, or None when DVC is the door."""
    return environ.get(RUN_ID) or None


def trial_environment(
    num_cpus: float, slot: int, num_gpus: float, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment of a sweep's trial that runs as child `slot` (from 0) of this process.

    Whole GPUs are dealt out by slot, among those that this process may see.
    """
    found = {**environ, "OMP_NUM_THREADS": str(max(1, int(num_cpus)))}
    count = int(num_gpus)
    if count:
        seen = environ.get("CUDA_VISIBLE_DEVICES")
        first = slot * count
        mine = [str(number) for number in range(first, first + count)]
        if seen is not None:
            mine = seen.split(",")[first : first + count]
        found["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    return found


def ray_address(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the Ray cluster that big steps are spread over, "local" for this machine, or None."""
    return environ.get("TUNELINE_RAY") or None


def api_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the key that clients of `tuneline serve` must send, or None."""
    return environ.get("TUNELINE_API_KEY") or None


def alert_webhook(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the address that alerts are sent to as JSON, or None. It is a secret: never log it."""
    return environ.get("TUNELINE_ALERT_WEBHOOK") or None


def state_folder(root: Path) -> Path:
    """Return the folder of everything that belongs to this working copy alone."""
    return root / ".tuneline"


def scratch_folder(root: Path, recipe: str) -> Path:
    """Return the folder for checkpoints and downloads of one recipe."""
    return state_folder(root) / "scratch" / recipe


def _stores(root: Path) -> dict[str, str]:
    state_folder(root).mkdir(exist_ok=True)
    (root / "mlflow").mkdir(exist_ok=True)
    from flows.up_state import prefect_api

    api = prefect_api(root)
    return ({"PREFECT_API_URL": api} if api else {}) | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow' / 'mlflow.db'}",
        "PREFECT_API_DATABASE_CONNECTION_URL": (
            f"sqlite+aiosqlite:///{state_folder(root) / 'prefect.db'}"
        ),
    }
