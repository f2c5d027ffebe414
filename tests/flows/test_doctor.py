"""What the doctor finds, on machines made up of the values it looks at, and on this one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from flows import doctor
from flows.cli import app
from flows.doctor import Finding, Machine, this_machine

ROOT = Path(__file__).resolve().parents[2]
GPU = ("GPU 0: NVIDIA L4",)
CPU_PACKAGES = {"onnxruntime": "1.31.1", "onnxruntime-genai": "0.18.0"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "recipes").mkdir()
    shutil.copy(ROOT / "recipes" / "tiny.yaml", tmp_path / "recipes")
    (tmp_path / "params.yaml").write_text("recipes:\n  - tiny\n", encoding="utf-8")
    return Machine(tmp_path, CPU_PACKAGES, (), lambda _: True)


def levels(findings: Any) -> list[tuple[str, str]]:
    return [(one.level, one.subject) for one in findings]


def change_recipe(machine: Machine, **sections: Any) -> None:
    file = machine.root / "recipes" / "tiny.yaml"
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    for name, values in sections.items():
        recipe[name] |= values
    file.write_text(yaml.safe_dump(recipe), encoding="utf-8")


def test_both_runtimes_are_a_fault(machine: Machine) -> None:
    both = replace(machine, installed={**CPU_PACKAGES, "onnxruntime-gpu": "1.31.1"})
    (found,) = doctor.runtime_packages(both)
    assert found.level == "fault"
    assert "overwrite each other" in found.found
    (none,) = doctor.runtime_packages(replace(machine, installed={}))
    assert (none.level, "not installed" in none.found) == ("fault", True)


def test_a_runtime_with_the_other_one_s_generator_is_a_fault(machine: Machine) -> None:
    mixed = {"onnxruntime": "1.31.1", "onnxruntime-genai-cuda": "0.18.0"}
    found = list(doctor.runtime_packages(replace(machine, installed=mixed)))
    assert ("fault", "onnxruntime-genai") in levels(found)
    assert levels(doctor.runtime_packages(machine)) == [("ok", "onnxruntime")]


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_cuda_that_is_listed_but_does_not_load_is_found(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    listed = ["CUDAExecutionProvider", *onnxruntime.get_available_providers()]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    with_gpu = replace(machine, gpus=GPU)
    found = {one.level: one for one in doctor.runtime_devices(with_gpu, gpu=True)}
    assert "would run on CPUExecutionProvider" in found["fault"].found
    assert "CUDA and cuDNN" in str(found["fault"].fix)
    alone = doctor.runtime_devices(machine, gpu=True)
    assert levels(alone) == [("ok", "onnxruntime"), ("warning", "onnxruntime")]


def test_a_gpu_that_the_runtime_cannot_use_is_told(machine: Machine) -> None:
    found = list(doctor.runtime_packages(replace(machine, gpus=GPU)))
    assert levels(found) == [("ok", "onnxruntime"), ("warning", "onnxruntime")]
    assert "only the CPU" in found[1].found


@pytest.mark.parametrize(
    ("gpus", "cuda", "available", "level"),
    [
        (GPU, "13.0", True, "ok"),
        (GPU, "13.0", False, "fault"),
        (GPU, None, False, "warning"),
        ((), "13.0", False, "ok"),
        ((), None, False, "ok"),
    ],
)
def test_torch_must_fit_the_driver(
    machine: Machine, gpus: tuple[str, ...], cuda: str | None, available: bool, level: str
) -> None:
    found = doctor.torch_finding(replace(machine, gpus=gpus), "2.13", cuda, available=available)
    assert found.level == level


def test_pins_that_no_resolver_knows_are_held(machine: Machine) -> None:
    text = '[project]\ndependencies = ["fastapi>=0.139,<0.151", "great-expectations>=1.24"]\n'
    (machine.root / "pyproject.toml").write_text(text, encoding="utf-8")
    good = {"fastapi": "0.150.0", "great-expectations": "1.24.1"}
    assert levels(doctor.requirements(replace(machine, installed=good))) == [("ok", "packages")]
    newer = replace(machine, installed={**good, "fastapi": "0.151.0"})
    (found,) = doctor.requirements(newer)
    assert found.level == "fault"
    assert found.fix == "pip install -c constraints.txt 'fastapi<0.151,>=0.139'"
    gone = replace(machine, installed={"fastapi": "0.150.0"})
    (found,) = doctor.requirements(gone)
    assert "great-expectations is not installed" in found.found


def test_what_recipes_need_is_looked_for(machine: Machine) -> None:
    none = replace(machine, importable=lambda _: False)
    assert levels(doctor.recipes(none)) == [("ok", "recipe tiny")]
    change_recipe(machine, training={"load_in_4bit": True})
    (found,) = doctor.recipes(none)
    assert found == Finding(
        "fault",
        "recipe tiny",
        "training.load_in_4bit needs bitsandbytes",
        "pip install -c constraints.txt bitsandbytes",
    )
    assert levels(doctor.recipes(machine)) == [("ok", "recipe tiny")]


def test_a_recipe_for_cuda_needs_a_gpu(machine: Machine) -> None:
    change_recipe(machine, export={"execution_provider": "cuda"})
    assert ("fault", "recipe tiny") in levels(doctor.recipes(machine))
    there = replace(machine, gpus=GPU, installed={"onnxruntime-gpu": "1.31.1"})
    assert levels(doctor.recipes(there)) == [("ok", "recipe tiny")]


def test_a_broken_recipe_is_a_finding_not_a_crash(machine: Machine) -> None:
    change_recipe(machine, training={"lora_rr": 3})
    (found,) = doctor.recipes(machine)
    assert found.level == "fault"
    assert "lora_rr" in found.found


def test_room_on_the_disk(machine: Machine) -> None:
    assert [doctor.disk(machine, free).level for free in (5e8, 5e9, 5e10)] == [
        "fault",
        "warning",
        "ok",
    ]


def test_without_git_and_dvc_nothing_can_be_traced(machine: Machine) -> None:
    assert levels(doctor.versions_kept(machine)) == [("fault", "git"), ("fault", "dvc")]


def test_this_machine_is_told_and_the_status_says_whether_it_is_well(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine.root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    monkeypatch.chdir(machine.root)
    done = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(done.stdout)
    subjects = {one["subject"]: one["level"] for one in found}
    assert {"python", "onnxruntime", "torch", "recipe tiny", "disk", "git", "dvc"} <= set(subjects)
    assert subjects["git"] == "fault"
    assert done.exit_code == 1
    assert "dvc init" in CliRunner().invoke(app, ["doctor"]).stdout


def test_the_packages_of_this_repository_are_met() -> None:
    found = list(doctor.requirements(this_machine(ROOT)))
    assert [one.found for one in found if one.level == "fault"] == []
