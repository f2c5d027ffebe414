"""The real line through DVC: who is champion when, and that a promotion makes nothing stale."""

import json
from pathlib import Path
from typing import Any

import pytest
from project import Project, copy_of_repository

pytestmark = pytest.mark.slow


def facts(project: Project, noun: str) -> dict[str, Any]:
    file = project.root / "data" / "tiny" / noun / "manifest.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["facts"]
    return found


def reseed(project: Project, old: int, new: int) -> None:
    file = project.root / "recipes" / "tiny.yaml"
    text = file.read_text(encoding="utf-8")
    assert f"bf16: false\n  seed: {old}" in text
    text = text.replace(f"bf16: false\n  seed: {old}", f"bf16: false\n  seed: {new}")
    file.write_text(text, encoding="utf-8")


def checks(project: Project) -> list[str]:
    return [reason["check"] for reason in facts(project, "verdict")["reasons"]]


def test_each_new_file_meets_the_champion_of_its_day(tmp_path: Path) -> None:
    project = copy_of_repository(tmp_path / "project")
    project.dvc("repro")
    assert facts(project, "champion") == {"there": False}
    assert checks(project)[-1] == "champion"
    first = facts(project, "registration")
    assert first["promote"], facts(project, "verdict")["reasons"]
    # The promotion at the end of that run makes nothing stale.
    assert "up to date" in project.dvc("status")
    assert "Running stage" not in project.dvc("repro")

    reseed(project, 0, 1)
    project.dvc("repro")
    assert facts(project, "champion")["sha256"] == first["model.sha256"]
    assert facts(project, "verification")["champion"]["compared"] is True
    assert "not_worse_than_champion" in checks(project)
    second = facts(project, "registration")
    assert second["promote"], facts(project, "verdict")["reasons"]
    assert second["model.sha256"] != first["model.sha256"]
    assert "up to date" in project.dvc("status")

    # The first settings again: training and export are restored, but not who was champion then.
    reseed(project, 1, 0)
    said = project.dvc("repro")
    assert "Running stage 'train@tiny'" not in said
    assert "Running stage 'champion@tiny'" in said
    assert facts(project, "champion")["sha256"] == second["model.sha256"]
    assert "not_worse_than_champion" in checks(project)
