"""What a bisect found, as a value that is printed, written as JSON and entered into MLflow."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from flows.bisect_rows import Ranges

Outcome = Literal["found", "suspects", "nothing"]
Verdict = Literal["good", "bad", "cannot be measured", "not looked at"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Point(_Frozen):
    """One version of the rows. `figure` is None where it was not measured; `note` says why not."""

    commit: str
    date: str
    subject: str
    verdict: Verdict
    rows: int | None = None
    figure: float | None = None
    note: str = ""


class FilePoint(_Frozen):
    """The rows before the bad version with what it changed up to this file, and the figure."""

    upto: str
    verdict: Verdict
    figure: float | None = None
    note: str = ""


class ChangedFile(_Frozen):
    """What the bad version changed in a file; `added` are ranges of row numbers, ends included."""

    file: str
    added: Ranges
    added_rows: int
    removed_rows: int
    told: str


class Bisected(_Frozen):
    """What came of a bisect.

    `measured` counts the versions and mixes whose figure was needed (both ends among them),
    `trained` those of them that were trained now: the others were kept from earlier. `looks` of the
    search among versions stand against `most_looks`. `suspects` are commits. `file` is the guilty
    file where it is known, `changed` all that the guilty version changed. `noise` is how far the
    difference of both ends moves by the choice of held-out rows; `margin` what it had to exceed.
    """

    recipe: str
    metric: str
    higher_is_better: bool
    max_steps: int
    items: int
    good: str
    bad: str
    good_figure: float
    bad_figure: float
    noise: float
    margin: float
    outcome: Outcome
    versions: list[Point]
    suspects: list[str] = []
    changed: list[ChangedFile] = []
    changed_sections: list[str] = []
    files: list[FilePoint] = []
    file: str | None = None
    looks: int = 0
    most_looks: int = 0
    file_looks: int = 0
    measured: int = 2
    trained: int = 0
    doubts: list[str] = []

    @property
    def worsening(self) -> float:
        gap = self.good_figure - self.bad_figure
        return gap if self.higher_is_better else -gap

    def words(self) -> str:
        """Say what was found in one sentence."""
        if self.outcome == "nothing":
            way = "better" if self.worsening < 0 else "worse"
            return (
                f"nothing can be told: {self.metric} is {self.good_figure:.4g} at the good and "
                f"{self.bad_figure:.4g} at the bad end, {way} by {abs(self.worsening):.3g}, and "
                f"{self.margin:.3g} is the least that counts"
            )
        if self.outcome == "suspects":
            names = ", ".join(commit[:8] for commit in self.suspects)
            return f"one of {names} made {self.metric} worse: those between cannot be measured"
        (commit,) = self.suspects
        said = f"{commit[:8]} made {self.metric} worse"
        return f"{said}: {self._where()}" if self._where() else said

    def _where(self) -> str:
        if self.file is None:
            return "; ".join([*self.changed_sections, *(one.told for one in self.changed)])
        return next((one.told for one in self.changed if one.file == self.file), self.file)
