"""What params.yaml says of the whole project; what it takes on disk; one run at a time."""

import os
import threading
import time
from pathlib import Path

import pytest

from components.contracts.errors import RecipeError, SpaceError
from flows.parameters import RecipeName, StageName
from flows.project import disk_use, need_quota, project_settings
from flows.recipe import add_to_line
from flows.turn import turn


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "params.yaml").write_text("recipes:\n  - one\n  - two\n")
    return tmp_path


def set_operation(root: Path, text: str) -> None:
    file = root / "params.yaml"
    file.write_text(f"{file.read_text()}\noperation:\n{text}")


def test_without_the_section_there_is_no_quota(root: Path) -> None:
    assert project_settings(root).disk_quota_gb is None
    need_quota(root)


def test_a_wrong_key_is_named(root: Path) -> None:
    set_operation(root, "  disk_quota: 3\n")
    with pytest.raises(RecipeError, match=r"operation: disk_quota: .*\n.*disk_quota_gb"):
        project_settings(root)


def test_a_full_quota_stops_a_run_and_says_what_takes_the_room(root: Path) -> None:
    cache = root / ".dvc/cache/files/md5/ab"
    cache.mkdir(parents=True)
    (cache / "cd").write_bytes(os.urandom(200_000))
    (root / "data").mkdir()
    os.link(cache / "cd", root / "data" / "linked")
    used = disk_use(root)
    assert 200_000 <= used["DVC cache"] < 300_000
    assert used["data"] == 0, "a link takes no room"

    set_operation(root, "  disk_quota_gb: 0.001\n")
    need_quota(root)
    set_operation(root, "")
    (root / "params.yaml").write_text("recipes: [one]\noperation: {disk_quota_gb: 0.0001}\n")
    with pytest.raises(SpaceError, match=r"0\.00 GB of the 0\.0001 GB .*\(DVC cache"):
        need_quota(root)


def test_a_recipe_is_added_below_recipes_whatever_else_is_listed(root: Path) -> None:
    set_operation(root, "  alerts:\n    - slack-webhook/ops\n")
    assert add_to_line(root, "three")
    assert "  - two\n  - three\n" in (root / "params.yaml").read_text()
    assert project_settings(root).alerts == ("slack-webhook/ops",)


def test_the_form_offers_the_recipes_on_the_line(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydantic import TypeAdapter

    monkeypatch.chdir(root)
    assert TypeAdapter(RecipeName).json_schema()["enum"] == ["one", "two"]
    assert "train" in TypeAdapter(StageName).json_schema()["enum"]
    monkeypatch.chdir(root.parent)
    assert "enum" not in TypeAdapter(RecipeName).json_schema()


def test_the_second_of_two_waits_and_other_recipes_do_not(root: Path) -> None:
    told: list[str] = []
    waited: list[float] = []
    held = threading.Event()

    def second() -> None:
        held.wait(10)
        with turn(root, "one", told.append) as seconds:
            waited.append(seconds)

    thread = threading.Thread(target=second)
    thread.start()
    with turn(root, "one", told.append), turn(root, "two", told.append):
        held.set()
        time.sleep(0.5)
        assert waited == []
    thread.join(10)
    assert waited
    assert told == ["another run of one is at work in this project: waiting for it"]
