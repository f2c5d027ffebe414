"""The files of deploy/ are what systemd, compose, Kubernetes and the servers' settings take."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from toy_project import REPOSITORY

from flows.recipe import listed, recipes_in

DEPLOY = REPOSITORY / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
WORDS = {"type": "array", "items": {"type": "string"}}
COMPOSE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["services"],
    "patternProperties": {"^x-": {}},
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "volumes": {"type": "object", "additionalProperties": {"type": ["object", "null"]}},
        "services": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["image"],
                "properties": {
                    "image": {"type": "string"},
                    "build": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "context": {"type": "string"},
                            "dockerfile": {"type": "string"},
                        },
                    },
                    "command": WORDS,
                    "env_file": WORDS,
                    "environment": {
                        "type": "object",
                        "additionalProperties": {"type": ["string", "number", "null"]},
                    },
                    "ports": {
                        "type": "array",
                        "items": {"type": "string", "pattern": r"^127\.0\.0\.1:\d+:\d+$"},
                    },
                    "volumes": WORDS,
                    "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
                    "stop_grace_period": {"type": "string", "pattern": r"^\d+(s|m|h)$"},
                    "healthcheck": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["test"],
                        "properties": {
                            "test": {
                                "type": "array",
                                "prefixItems": [{"enum": ["CMD", "CMD-SHELL"]}],
                                "minItems": 2,
                            },
                            "interval": {"type": "string", "pattern": r"^\d+(s|m)$"},
                            "retries": {"type": "integer", "minimum": 1},
                        },
                    },
                    "depends_on": {
                        "type": "object",
                        "additionalProperties": {
                            "type": "object",
                            "required": ["condition"],
                            "additionalProperties": False,
                            "properties": {
                                "condition": {
                                    "enum": [
                                        "service_started",
                                        "service_healthy",
                                        "service_completed_successfully",
                                    ]
                                }
                            },
                        },
                    },
                },
            },
        },
    },
}
"""What the Compose Specification says of the keys that we use; ports on the loopback only."""


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def test_compose_file_fits_the_specification() -> None:
    found = compose()
    jsonschema.validate(found, COMPOSE)
    services = found["services"]
    for name, one in services.items():
        assert set(one.get("depends_on", {})) <= services.keys(), name
        for other, need in one.get("depends_on", {}).items():
            if need["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for {other} for ever"
        for volume in one.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in found["volumes"] or (DEPLOY / source).exists(), volume
        if "build" in one:
            assert (DEPLOY / one["build"]["context"] / one["build"]["dockerfile"]).is_file()
    assert {"prefect", "mlflow", "worker", "postgres"} == services.keys()


def test_compose_holds_no_password() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    asked = re.findall(r"(?:PASSWORD: |://\w+:(?=[^@/\s]+@))([^@\s]+)", text)
    assert asked
    assert all(one.startswith("${POSTGRES_PASSWORD") for one in asked)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (Debian: apt-get install systemd)")
    binaries = tmp_path / ".venv/bin"
    binaries.mkdir(parents=True)
    for name in ("prefect", "mlflow", "tuneline"):
        (binaries / name).write_text("#!/bin/sh\n")
        (binaries / name).chmod(0o755)
    for one in UNITS:  # they name each other
        text = one.read_text().replace("/srv/tuneline", str(tmp_path))
        (tmp_path / one.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", tmp_path / unit.name],
        capture_output=True,
        text=True,
        check=False,
    )
    # other units of the machine have faults of their own
    told = [line for line in done.stderr.splitlines() if unit.name in line]
    assert told == []


def test_services_read_secrets_from_the_file_only() -> None:
    services = [unit for unit in UNITS if unit.suffix == ".service"]
    for unit in services:
        text = unit.read_text()
        assert "EnvironmentFile=/etc/tuneline/tuneline.env" in text
        assert not re.search(r"(PASSWORD|SECRET|TOKEN|://\w+:\w+@)", text), unit.name


def test_every_setting_of_the_example_is_one_that_something_reads() -> None:
    import mlflow.cli
    import mlflow.environment_variables as of_mlflow
    from prefect import settings as of_prefect

    text = (DEPLOY / "tuneline.env.example").read_text()
    names = re.findall(r"^#?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)
    assert len(names) > 10
    options = {p.envvar for p in mlflow.cli.server.params if getattr(p, "envvar", None)}
    mlflow_known = set(vars(of_mlflow)) | options
    prefect_known = {name for name in names if hasattr(of_prefect, name)}
    ours = {"TUNELINE_ALERT_WEBHOOK"}
    by_boto = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}
    unknown = set(names) - mlflow_known - prefect_known - ours - by_boto
    assert unknown == set()


def template() -> dict[str, Any]:
    return dict(json.loads((DEPLOY / "kubernetes/base-job-template.json").read_text()))


def test_the_job_template_names_each_variable_that_it_defines() -> None:
    found = template()
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(found["job_configuration"])))
    assert used == set(found["variables"]["properties"])
    for one in found["variables"]["properties"].values():
        if "default" in one:
            jsonschema.validate(one["default"], one)


def test_the_job_of_the_template_is_a_kubernetes_job() -> None:
    """Filled in with its defaults; Prefect's worker adds command, name and labels."""
    found = template()
    defaults = {
        name: one.get("default", "filled-in")
        for name, one in found["variables"]["properties"].items()
    }
    job = filled(found["job_configuration"]["job_manifest"], defaults)
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert set(job["spec"]) <= {
        "activeDeadlineSeconds",
        "backoffLimit",
        "completions",
        "parallelism",
        "template",
        "ttlSecondsAfterFinished",
    }
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never", "a Job takes Never or OnFailure; Prefect retries"
    mounted = {one["name"] for c in pod["containers"] for one in c["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["volumes"]}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 0
    assert pod["securityContext"]["runAsNonRoot"] is True


def filled(value: Any, given: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: filled(inner, given) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, given) for inner in value]
    if isinstance(value, str) and (whole := re.fullmatch(r"\{\{ (\w+) \}\}", value)):
        return given[whole[1]]
    return value


def test_every_deployment_has_a_flow_its_parameters_and_a_schedule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from importlib import import_module

    from prefect.client.schemas.schedules import CronSchedule
    from prefect.utilities.callables import parameter_schema

    monkeypatch.chdir(REPOSITORY)
    found = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    assert len({one["name"] for one in found}) == len(found)
    for one in found:
        path, _, name = one["entrypoint"].partition(":")
        flow = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
        schema = parameter_schema(flow).model_dump()
        jsonschema.validate(one["parameters"], {**schema, "type": "object"})
        assert one["parameters"]["recipe"] in schema["properties"]["recipe"]["enum"]
        assert one["schedules"], one["name"]
        for schedule in one["schedules"]:
            CronSchedule(**schedule)
        assert one["work_pool"] == {"name": "tuneline"}
        assert one["concurrency_limit"]["limit"] == 1, "two ticks at once"
        assert one["concurrency_limit"]["collision_strategy"] in ("ENQUEUE", "CANCEL_NEW")


FLOWS = ("canary", "data_check", "finetune", "retrain", "sweep", "watch")


@pytest.mark.parametrize("name", FLOWS)
def test_the_form_of_each_flow_explains_every_field(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import import_module

    from prefect.utilities.callables import parameter_schema

    monkeypatch.chdir(REPOSITORY)
    fields = parameter_schema(getattr(import_module(f"flows.{name}"), name)).properties
    for field, schema in fields.items():
        assert schema.get("description"), f"{name}: {field}"
    offered = recipes_in(REPOSITORY) if name == "canary" else listed(REPOSITORY)
    assert fields["recipe"]["enum"] == offered


def test_no_flow_is_left_out_here() -> None:
    files = (REPOSITORY / "flows").glob("*.py")
    assert {file.stem for file in files if "\n@flow(" in file.read_text()} == set(FLOWS)


def test_nightly_canary_checks_the_tiny_recipe() -> None:
    found = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    (one,) = (one for one in found if one["entrypoint"] == "flows/canary.py:canary")
    assert one["parameters"] == {"recipe": "tiny"}
    assert one["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
