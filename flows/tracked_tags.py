"""What MLflow knows of a run or of the run behind a model version: tags and parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlflow.exceptions import MlflowException

from components.contracts.errors import RecipeError
from flows.store import client


@dataclass(frozen=True)
class Tracked:
    """`tags` hold DVC's hash of every artefact (`dvc.NOUN`), `params` the recipe's settings."""

    tags: Mapping[str, str]
    params: Mapping[str, str]


def tracked(name: str) -> Tracked:
    """Return what is known of an MLflow run id or a `models:/` address; raise `RecipeError`."""
    store = client()
    try:
        run = name
        if name.startswith("models:/"):
            model, alias, version = _parts(name)
            found = (
                store.get_model_version_by_alias(model, alias)
                if alias
                else store.get_model_version(model, version)
            )
            run = found.tags.get("mlflow.run_id") or str(found.run_id)
        data = store.get_run(run).data
    except MlflowException as error:
        raise RecipeError(
            f"MLflow knows no '{name}': {error.message}",
            fix="`tuneline show RECIPE` names the last run and version, `tuneline ui` shows all",
        ) from error
    return Tracked(data.tags, data.params)


def _parts(name: str) -> tuple[str, str, str]:
    """Return (model, alias, version) of `models:/MODEL@ALIAS` or `models:/MODEL/VERSION`."""
    place = name.removeprefix("models:/").strip("/")
    model, _, alias = place.partition("@")
    if alias:
        return model, alias, ""
    model, _, version = place.rpartition("/")
    if not model or not version.isdigit():
        raise RecipeError(
            f"'{name}' is no model version", fix="write models:/NAME/VERSION or models:/NAME@ALIAS"
        )
    return model, "", version
