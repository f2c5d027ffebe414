"""The canary: the same small line with the locked and with the newest packages, and the culprit."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from flows.bisect_search import most_looks, search
from flows.canary_compare import Compared, Probed, State, compare, echoes
from flows.canary_environment import CanaryError, Tell
from flows.canary_packages import Bump, Packages, bumps, mix, overlay, python_path
from flows.canary_probe import CHECKS
from flows.environment import QUIET, state_folder
from flows.recipe import recipe_file
from flows.registry_reproduce import OURS

FAULT = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning))\b")
LAST_LINES = 6


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Check(_Frozen):
    """How one check went with the newest packages, against the locked ones."""

    check: str
    state: State
    said: str


class Canaried(_Frozen):
    """What came of a canary. `suspects` are bumps in the order they were tried; one of them is the
    culprit. `alone` says whether it breaks the line by itself (None: not asked). `looks` mixes were
    tried of at most `most_looks`, besides one of all bumps and one of the culprit alone.
    """

    recipe: str
    locked: str
    newest: str
    bumps: list[str]
    checks: list[Check]
    suspects: list[str] = []
    alone: bool | None = None
    looks: int = 0
    most_looks: int = 0
    notes: list[str] = []

    @property
    def sound(self) -> bool:
        return all(one.state == "same" for one in self.checks)

    def words(self) -> str:
        """Say it in one sentence."""
        if self.sound:
            return f"nothing breaks: {len(self.bumps)} packages are newer than the locked ones"
        broken = next(one for one in self.checks if one.state != "same")
        what = f"{broken.check} {broken.state}"
        if len(self.suspects) == 1:
            how = "" if self.alone else ", together with packages that come before it"
            return f"{self.suspects[0]} breaks the line{how}: {what}"
        if self.suspects:
            return f"one of {', '.join(self.suspects)} breaks the line: {what}"
        return f"the newest packages break the line, no single one can be named: {what}"


@dataclass(frozen=True)
class Runner:
    """Runs checks of a recipe with any interpreter, each run in a folder of its own."""

    root: Path
    recipe: str
    folder: Path
    checks: Sequence[str]
    tell: Tell

    def packages(self, python: str) -> Packages:
        """Return what is installed; raise `CanaryError` if the interpreter does not run."""
        found = self.one("packages", python, (), self.folder / "packages")
        if found.figures is None:
            raise CanaryError(
                f"{python} cannot tell its packages: {found.said}",
                fix="name a Python interpreter that runs",
            )
        return found.figures

    def all(self, name: str, python: str, front: Sequence[str], upto: str) -> dict[str, Probed]:
        """Run the checks in order up to one; a broken one is the last, as the next build on it."""
        self.tell(f"{name}: {', '.join(self.checks[: self.checks.index(upto) + 1])}")
        out = self.folder / "runs" / name
        shutil.rmtree(out, ignore_errors=True)
        found: dict[str, Probed] = {}
        for check in self.checks:
            found[check] = self.one(check, python, front, out)
            if check == upto or not found[check].ok:
                break
        return found

    def one(self, check: str, python: str, front: Sequence[str], out: Path) -> Probed:
        """Run one check as a child process."""
        out.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [python, "-m", "flows.canary_probe", check, str(self.root), self.recipe, str(out)],
            cwd=out,
            env=child(os.environ, self.root, front, out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        file = out / f"{check}.json"
        if done.returncode == 0 and file.is_file():
            return Probed(json.loads(file.read_text(encoding="utf-8")))
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        return Probed(None, fault_of(lines, done.returncode), " | ".join(lines[-LAST_LINES:]))


def child(
    environ: Mapping[str, str], root: Path, front: Sequence[str], out: Path
) -> dict[str, str]:
    """Return the environment of a check: stores of its own, nothing of the project's."""
    env = {name: value for name, value in environ.items() if not name.startswith(OURS)}
    return {
        **env,
        **QUIET,
        "MLFLOW_TRACKING_URI": f"sqlite:///{out / 'mlflow.db'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": python_path(front, root, environ),
        "PYTHONSAFEPATH": "1",  # the folder of a run holds artefacts named like packages
    }


def fault_of(lines: Sequence[str], code: int) -> str:
    """Return the kind of error that ended a check: the last one named, else how it ended."""
    named = [found.group(1) for line in lines if (found := FAULT.match(line))]
    return named[-1] if named else f"exit code {code}"


def canary(
    root: Path,
    recipe: str,
    newest: str,
    *,
    locked: str = sys.executable,
    checks: Sequence[str] = tuple(CHECKS),
    folder: Path | None = None,
    tell: Tell = lambda _: None,
) -> Canaried:
    """Run `checks` with the interpreters `locked` and `newest`; on a difference find the package.

    The packages that differ are taken over one after the other, halving: at most ⌈log2 N⌉ mixes,
    besides one of all and one of the culprit alone. Nothing is installed, and nothing outside
    `folder` (.tuneline/canary/) is written.

    Raises:
        RecipeError: there is no such recipe.
        CanaryError: an interpreter does not run, or the locked packages fail by themselves.
    """
    recipe_file(root, recipe)
    folder = folder or state_folder(root) / "canary"
    shutil.rmtree(folder / "runs", ignore_errors=True)
    runner = Runner(root, recipe, folder, checks, tell)
    theirs = runner.packages(newest)
    bumped = bumps(runner.packages(locked), theirs)
    before = runner.all("locked", locked, (), checks[-1])
    _need_sound(before)
    after = runner.all("newest", newest, (), checks[-1])
    found = [compare(check, before[check], after.get(check)) for check in checks]
    result = Canaried(
        recipe=recipe,
        locked=locked,
        newest=newest,
        bumps=[one.told() for one in bumped],
        checks=[Check(check=one.check, state=one.state, said=one.said) for one in found],
    )
    seen = next((one for one in found if not one.sound), None)
    if seen is not None:
        result = _named(runner, locked, bumped, theirs, seen, before[seen.check], result)
    shutil.rmtree(folder / "runs", ignore_errors=True)
    shutil.rmtree(folder / "mixed", ignore_errors=True)
    return result


def _need_sound(before: Mapping[str, Probed]) -> None:
    for check, found in before.items():
        if not found.ok:
            raise CanaryError(
                f"the locked packages fail the check '{check}' by themselves: {found.said}",
                fix="mend that first: there is nothing to compare the newest with",
            )


def _named(
    runner: Runner,
    locked: str,
    bumped: list[Bump],
    theirs: Packages,
    seen: Compared,
    reference: Probed,
    result: Canaried,
) -> Canaried:
    """Find the bump that shows what was seen."""
    folder = runner.folder / "mixed"
    shutil.rmtree(folder, ignore_errors=True)
    whole, left_out = _mixable(bumped, theirs, folder)
    notes = [f"left out of the search: {one}" for one in left_out]
    if not whole:
        notes.append("no package differs: the interpreter or its environment does")
        return result.model_copy(update={"notes": notes})

    def shows(taken: Sequence[Bump], name: str) -> bool | None:
        probed = runner.all(name, locked, mix(taken, theirs, folder), seen.check)
        return echoes(seen, compare(seen.check, reference, probed.get(seen.check)))

    if shows(whole, "mix of all") is not True:
        notes.append(
            "the locked interpreter with all bumped packages in front does not show it: the cause "
            "lies in the interpreter, in what is left out, or in how packages were installed"
        )
        return result.model_copy(update={"notes": notes})
    span = search(len(whole), lambda n: shows(whole[:n], f"mix of {n}"))
    suspects = [whole[n - 1] for n in span.suspects]
    alone = None
    if span.first_bad is not None:
        alone = span.first_bad == 1 or shows(suspects, "mix of one") is True
    return result.model_copy(
        update={
            "suspects": [one.told() for one in suspects],
            "alone": alone,
            "looks": span.looks,
            "most_looks": most_looks(len(whole)),
            "notes": notes,
        }
    )


def _mixable(
    bumped: Sequence[Bump], theirs: Packages, folder: Path
) -> tuple[list[Bump], list[str]]:
    """Part the bumps into those whose files can be taken over, and why the others cannot."""
    whole: list[Bump] = []
    left_out: list[str] = []
    for one in bumped:
        try:
            overlay(one.name, theirs, folder)
            whole.append(one)
        except ValueError as error:
            left_out.append(str(error))
    return whole, left_out


def told(found: Canaried) -> list[str]:
    """Return the report in lines, the verdict last."""
    lines = [f"{one.check:<10} {one.state:<12} {one.said}" for one in found.checks]
    lines += [f"{len(found.bumps)} newer: {', '.join(found.bumps[:12])}{_more(found.bumps, 12)}"]
    lines += [f"note: {note}" for note in found.notes]
    if found.suspects:
        lines.append(
            f"{found.looks} mixes tried of at most {found.most_looks}, besides one of all and one "
            "of the culprit alone"
        )
    return [*lines, f"{found.recipe}: {found.words()}"]


def markdown(found: Canaried) -> str:
    """Return the report as Markdown, for a Prefect artefact."""
    rows = [f"| {one.check} | {one.state} | {_cell(one.said)} |" for one in found.checks]
    newer = "\n".join(f"- {one}" for one in found.bumps) or "none"
    notes = "".join(f"\n- {_cell(note)}" for note in found.notes)
    return "\n".join(
        [f"**{_cell(found.words())}**", "", "| check | | |", "|---|---|---|", *rows, notes, "",
         "Newer than the locked ones:", "", newer]
    )  # fmt: skip


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _more(values: Sequence[Any], shown: int) -> str:
    return f" and {len(values) - shown} more" if len(values) > shown else ""
