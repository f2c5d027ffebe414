"""The doors: the only place that knows Prefect, DVC and MLflow."""
