"""The MLflow store that everything of a run goes to."""

import os

import mlflow
from mlflow.tracking import MlflowClient


def client() -> MlflowClient:
    """Return a client of the store that `MLFLOW_TRACKING_URI` names (set by `prepare`)."""
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    return MlflowClient()
