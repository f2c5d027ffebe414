"""The MLflow store that everything of a run goes to."""

import os
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow answers where a name or an alias is not there."""


def client() -> MlflowClient:
    """Return a client of the store that `MLFLOW_TRACKING_URI` names (set by `prepare`)."""
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    return MlflowClient()


def champion_version(name: str) -> Any | None:
    """Return the version that is champion now; None without one, or without any store."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    try:
        return client().get_model_version_by_alias(name, "champion")
    except MlflowException as error:
        if error.error_code in ABSENT:  # the first run: neither the name nor the alias exists
            return None
        raise


def download(version: Any, folder: Path) -> dict[str, Any]:
    """Copy all files of a model version to `folder`; return its pyfunc flavor."""
    client()
    folder.mkdir(parents=True)
    uri = f"models:/{version.name}/{version.version}"
    mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))
    told = mlflow.models.Model.load(str(folder)).flavors.get("python_function", {})
    return dict(told)
