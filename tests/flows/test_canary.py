"""The dependency canary: which bump breaks what."""

import sys
from pathlib import Path
from typing import Any

import pytest
from canary_project import command, interpreter, make_root, package
from toy_project import REPOSITORY

from components.contracts.errors import RecipeError, UnreachableError
from flows.canary_compare import Probed, compare, echoes
from flows.canary_environment import CanaryError, newest, torch_pin, wanted
from flows.canary_packages import bumps, mix
from flows.canary_probe import CHECKS
from flows.canary_run import Canaried, Runner, canary, markdown, told
from flows.canary_start import interpreter as chosen

NAMES = ("alpha", "beta", "gamma", "delta")
LOSSES: dict[str, Any] = {"losses": [2.0, 1.0], "dtype": "float32"}


def tried(folder: Path, fault: str, **newer: int) -> Canaried:
    """Run the canary on made-up packages, all of version 1 but for the newest ones."""
    root = make_root(folder / "root", fault)
    locked = dict.fromkeys(NAMES, 1)
    for name in ("locked", "newest"):
        (folder / name).mkdir()
    return canary(
        root,
        "toy",
        interpreter(folder / "newest", locked | newer),
        locked=interpreter(folder / "locked", locked),
        checks=("golden",),
        folder=folder / "canary",
    )


def test_nothing_breaks(tmp_path: Path) -> None:
    found = tried(tmp_path, "False", alpha=2, beta=3)
    assert found.sound
    assert found.bumps == ["alpha 1 → 2", "beta 1 → 3"]
    assert found.suspects == []
    assert "nothing breaks: 2 packages are newer" in told(found)[-1]


def test_the_bump_that_breaks_it_is_named(tmp_path: Path) -> None:
    found = tried(tmp_path, "gamma == 2", alpha=2, beta=2, gamma=2, delta=2)
    assert found.suspects == ["gamma 1 → 2"]
    assert found.alone is True
    assert found.looks <= found.most_looks == 2
    assert found.checks[0].state == "differs"
    assert "5.0e-01 nats apart" in found.checks[0].said
    assert "gamma 1 → 2 breaks the line: golden differs" in told(found)[-1]
    assert "| golden | differs |" in markdown(found)
    left = {one.name for one in (tmp_path / "canary").iterdir()}
    assert left == {"packages"}


def test_a_bump_that_breaks_it_only_with_another_is_told_as_such(tmp_path: Path) -> None:
    found = tried(tmp_path, "alpha == 2 and gamma == 2", alpha=2, beta=2, gamma=2, delta=2)
    assert found.suspects == ["gamma 1 → 2"]
    assert found.alone is False
    assert "together with packages that come before it" in found.words()


def test_an_error_is_searched_for_by_its_kind(tmp_path: Path) -> None:
    # with delta alone it breaks in another way: that is no trace of what is looked for
    fault = (
        "ImportError('new name') if beta == 2 and delta == 2"
        " else KeyError('mix') if delta == 2 else False"
    )
    found = tried(tmp_path, fault, alpha=2, beta=2, delta=2)
    assert found.checks[0].state == "broke"
    assert "new name" in found.checks[0].said
    assert found.suspects == ["delta 1 → 2"]
    assert found.alone is False


def test_a_cause_that_is_in_no_package_is_not_pinned_on_one(tmp_path: Path) -> None:
    found = tried(tmp_path, "'newest' in ' '.join(sys.path)", alpha=2)
    assert not found.sound
    assert found.suspects == []
    assert "does not show it" in " ".join(found.notes)
    assert "no single one can be named" in found.words()


def test_locked_packages_that_fail_by_themselves_are_told(tmp_path: Path) -> None:
    with pytest.raises(CanaryError, match=r"locked packages fail the check 'golden'.*always"):
        tried(tmp_path, "ValueError('always')", alpha=2)


def test_what_is_named_wrongly_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe 'tine'"):
        canary(REPOSITORY, "tine", sys.executable)
    with pytest.raises(CanaryError, match="no interpreter"):
        chosen(tmp_path, str(tmp_path / "none"), None, print)
    with pytest.raises(CanaryError, match="no constraints file"):
        chosen(tmp_path, None, tmp_path / "none", print)


def test_the_flow_fails_and_leaves_the_report(
    tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    from flows.canary import canary as flow

    monkeypatch.chdir(make_root(tmp_path / "root", "beta == 2"))
    (tmp_path / "newest").mkdir()
    python = interpreter(tmp_path / "newest", dict.fromkeys(NAMES, 2))
    state: Any = flow("toy", python=python, return_state=True)
    assert state.is_failed()
    assert "beta none → 2 breaks the line" in str(state.message)
    with get_client(sync_client=True) as client:
        of_run = ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
        left_behind = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=of_run))
    (left,) = (one for one in left_behind if one.key)  # Prefect's own note of the end has none
    assert left.key == "canary"
    assert "| parity | same |" in str(left.data)


@pytest.mark.parametrize(
    ("losses", "state"),
    [
        ([2.0, 1.0], "same"),
        ([2.0, 1.00009], "same"),
        ([2.0, 1.0002], "differs"),
        ([2.0], "differs"),
    ],
)
def test_losses_may_be_off_by_rounding_alone(losses: list[float], state: str) -> None:
    other = Probed(LOSSES | {"losses": losses})
    assert compare("golden", Probed(LOSSES), other).state == state


def test_each_check_is_compared_by_its_own_rule() -> None:
    bf16 = Probed(LOSSES | {"dtype": "bfloat16"})
    assert compare("golden", Probed(LOSSES), bf16).state == "differs"
    near = Probed({"passed": True, "max_logit_difference": 1e-5, "limit": 1e-3})
    far = Probed({"passed": False, "max_logit_difference": 0.2, "limit": 1e-3})
    assert compare("parity", near, near).state == "same"
    assert compare("parity", near, far).state == "differs"
    assert compare("parity", near, None).state == "not reached"
    broke = Probed(None, "ModelError", "answers 'x'")
    assert compare("roundtrip", Probed({"answers": ["a"]}), broke).state == "broke"


def test_only_the_same_trouble_is_an_echo() -> None:
    good, off = Probed(LOSSES), Probed(LOSSES | {"losses": [2.0, 1.5]})
    key, value = Probed(None, "KeyError", "k"), Probed(None, "ValueError", "v")
    seen = {name: compare("golden", good, one) for name, one in (("off", off), ("key", key))}
    assert echoes(seen["off"], compare("golden", good, good)) is False
    assert echoes(seen["off"], seen["off"]) is True
    assert echoes(seen["off"], seen["key"]) is None
    assert echoes(seen["key"], seen["key"]) is True
    assert echoes(seen["key"], compare("golden", good, value)) is None
    assert echoes(seen["key"], compare("golden", good, None)) is None


def test_a_package_comes_after_those_it_requires() -> None:
    def one(version: str, *requires: str) -> dict[str, Any]:
        return {"version": version, "requires": list(requires), "files": [], "place": "/"}

    locked = {"a": one("1", "z"), "z": one("1"), "tool": one("1"), "same": one("1")}
    newer = {
        "a": one("2", "Z_x>=1", "z (>=2); python_version > '3'"),
        "z": one("2", "a"),
        "z-x": one("1"),
        "same": one("1"),
        "tuneline": one("9"),
    }
    assert [b.told() for b in bumps(locked, newer)] == ["z 1 → 2", "z-x none → 1", "a 1 → 2"]


def test_a_mix_is_made_of_the_packages_own_files_alone(tmp_path: Path) -> None:
    package(tmp_path / "site", "alpha", 2, {"alpha.py": "VERSION = 2\n"})
    package(tmp_path / "site", "beta", 2, {"beta.py": "VERSION = 2\n"})
    make_root(tmp_path / "root", "False")
    runner = Runner(tmp_path / "root", "toy", tmp_path / "canary", ("golden",), print)
    found = runner.packages(command(tmp_path, tmp_path / "site"))
    changed = bumps({}, {"alpha": found["alpha"]})
    (front,) = mix(changed, found, tmp_path / "mixed")
    names = {file.relative_to(front).as_posix() for file in Path(front).rglob("*.*")}
    assert "alpha.py" in names
    assert not any("beta" in name for name in names)
    with pytest.raises(ValueError, match="does not list its files"):
        mix(changed, {"alpha": {**found["alpha"], "files": []}}, tmp_path / "none")


def test_what_is_installed_is_what_the_project_asks_for() -> None:
    assert torch_pin(REPOSITORY).startswith("torch==")
    asked = wanted(REPOSITORY, "cpu")
    assert any(line.startswith("onnxruntime>=") for line in asked)
    assert any(line.startswith("fastapi>=0.139,<") for line in asked)


@pytest.mark.slow
def test_without_an_index_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_RETRIES": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnreachableError, match="pip reaches no package index"):
        newest(REPOSITORY, tmp_path / "newest", "cpu", None, print)
    assert not (tmp_path / "newest").exists(), "nothing half-made stays"


@pytest.mark.slow
def test_the_real_checks_agree_with_themselves(tmp_path: Path) -> None:
    runner = Runner(REPOSITORY, "tiny", tmp_path, tuple(CHECKS), print)
    found = runner.all("locked", sys.executable, (), "roundtrip")
    states = {check: compare(check, found[check], found[check]) for check in found}
    assert {one.state for one in states.values()} == {"same"}, states
    assert len(states) == 3
    assert len((found["golden"].figures or {})["losses"]) == 50


@pytest.mark.slow
def test_a_planted_fault_in_a_package_is_found(tmp_path: Path) -> None:
    """The newest version of a package changes what the standard library's `shuffle` does."""
    fault = "import random\nrandom.Random.shuffle = lambda self, rows: rows.reverse()\n"
    package(tmp_path / "site", "alpha", 2, {"alpha.py": "", "sitecustomize.py": fault})
    found = canary(
        REPOSITORY,
        "tiny",
        command(tmp_path, tmp_path / "site"),
        checks=("golden",),
        folder=tmp_path / "canary",
    )
    assert [one.state for one in found.checks] == ["differs"], found
    assert found.suspects == ["alpha none → 2"]
    assert found.alone is True
