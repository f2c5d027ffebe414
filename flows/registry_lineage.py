"""Everything that a version was made of, and who was champion before it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict

from flows.registry_alias import moves, reigns
from flows.registry_bundle import BASE, ENVIRONMENT, LOCK, RECIPE, read_bundle
from flows.registry_check import HASH
from flows.registry_ref import Found
from flows.store import client

KEY_PACKAGES = ("torch", "transformers", "peft", "onnxruntime", "onnxruntime-gpu", "numpy")


class Lineage(BaseModel):
    """What is known of a version's making. `None` and empty: not known.

    `artefacts` are DVC's hashes of what the line made, `inputs` of what it read from outside
    itself; `base_model` the SHA-256 of the base model's weights, by file. `champions` are those
    that a rollback would go back through, the present one last; `moves` every change.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str
    version: str
    aliases: list[str]
    sha256: str | None
    ship: str | None
    git_commit: str | None
    git_dirty: bool | None
    recipe: str | None
    recipe_text: str | None
    mlflow_run_id: str | None
    prefect_flow_run_id: str | None
    artefacts: dict[str, str]
    inputs: dict[str, str]
    base_model: dict[str, str]
    environment: dict[str, Any]
    verdict: str | None
    reasons: list[str]
    champions: list[str]
    moves: list[dict[str, Any]]


def lineage(found: Found) -> Lineage:
    """Gather what tags, run and registry know of a version."""
    store, tags = client(), found.tags
    known = store.get_registered_model(found.name)
    bundle = read_bundle(found.run) if found.run else {}
    past = moves(found.name)
    aliases = sorted(alias for alias, v in known.aliases.items() if str(v) == found.version)
    current = known.aliases.get("champion")
    return Lineage(
        model=found.name,
        version=found.version,
        aliases=aliases,
        sha256=tags.get(HASH),
        ship=tags.get("ship"),
        git_commit=_known(tags, "git.commit"),
        git_dirty={"true": True, "false": False}.get(tags.get("git.dirty", "")),
        recipe=tags.get("recipe"),
        recipe_text=bundle.get(RECIPE),
        mlflow_run_id=found.run,
        prefect_flow_run_id=_known(tags, "prefect.flow_run_id"),
        artefacts={k.removeprefix("dvc."): v for k, v in tags.items() if k.startswith("dvc.")},
        inputs=inputs_of(bundle.get(LOCK) or {}),
        base_model=weights_of(bundle.get(BASE) or {}),
        environment=bundle.get(ENVIRONMENT) or {},
        verdict=tags.get("verdict"),
        reasons=[reason for reason in tags.get("verdict.reasons", "").split("; ") if reason],
        champions=reigns(past, str(current) if current is not None else None),
        moves=[asdict(move) for move in past],
    )


def inputs_of(lock: Mapping[str, Any]) -> dict[str, str]:
    """Return DVC's hash of everything that stages read and no stage wrote: code, rows, recipe."""
    stages = lock.get("stages", {}).values()
    made = {out["path"] for stage in stages for out in stage.get("outs", ())}
    read = {
        dep["path"]: str(dep["md5"])
        for stage in stages
        for dep in stage.get("deps", ())
        if dep["path"] not in made and "md5" in dep
    }
    return dict(sorted(read.items()))


def weights_of(base: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of the base model's weights, by file, from its manifest."""
    files = base.get("files", {})
    return {name: files[name]["sha256"] for name in files if name.endswith(".safetensors")}


def told(found: Lineage) -> list[str]:
    """Return the lineage as lines for people."""
    dirty = " with changes that were not committed" if found.git_dirty else ""
    packages = found.environment.get("packages", {})
    here = [f"{name} {packages[name]}" for name in KEY_PACKAGES if name in packages]
    lines = [
        f"{found.model} version {found.version} ({', '.join(found.aliases) or 'no alias'})",
        f"  file         {found.ship or 'unknown'}, sha256 {found.sha256 or 'unknown'}",
        f"  git          {found.git_commit or 'unknown'}{dirty}",
        f"  recipe       {found.recipe or 'unknown'}",
        f"  MLflow run   {found.mlflow_run_id or 'unknown'}",
        f"  Prefect run  {found.prefect_flow_run_id or 'none'}",
        f"  environment  Python {found.environment.get('python', 'unknown')}"
        f"{', ' + ', '.join(here) if here else ''} ({len(packages)} packages)",
        f"  verdict      {found.verdict or 'unknown'}",
        *(f"    {reason}" for reason in found.reasons),
        "  base model",
        *(f"    {name:<34} sha256 {digest}" for name, digest in found.base_model.items()),
        "  inputs (DVC)",
        *(f"    {path:<34} {digest}" for path, digest in found.inputs.items()),
        "  made (DVC)",
        *(f"    {name:<34} {digest}" for name, digest in found.artefacts.items()),
        f"  champions    {' → '.join(found.champions) or 'none yet'}",
    ]
    for move in found.moves:
        note = f": {move['note']}" if move["note"] else ""
        start = f"{move['before'] or 'none'} → {move['to']}"
        lines.append(f"    {move['at']}  {start}  {move['why']} by {move['by']}{note}")
    return lines


def _known(tags: Mapping[str, str], name: str) -> str | None:
    found = tags.get(name)
    return None if found in (None, "none") else found
