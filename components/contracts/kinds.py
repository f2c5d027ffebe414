"""The nouns of the line: one class an artefact, so that a step's signature says what it needs."""

from pathlib import Path

from components.contracts.artefacts import Artefact


class Raw(Artefact):
    """Rows as they came, one JSON object a line with its source file and row number."""

    kind = "raw"

    @property
    def rows(self) -> Path:
        return self.path / "rows.jsonl"


class BaseModelFolder(Artefact):
    """A full-precision transformers model folder (safetensors) with its tokenizer.

    A `teacher` lies beside it where the recipe names one: then the facts hold `teacher` too.
    """

    kind = "base"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def teacher(self) -> Path:
        return self.path / "teacher"


class Dataset(Artefact):
    """Accepted rows by split, the quarantine and the Data Docs."""

    kind = "dataset"

    def split(self, name: str) -> Path:
        return self.path / f"{name}.parquet"

    @property
    def quarantine(self) -> Path:
        return self.path / "quarantine.parquet"


class Tokens(Artefact):
    """Token ids and labels by split, unpacked, with the supervision ledger.

    `quarantine` is there if the recipe lets rows that are too long be left out.
    """

    kind = "tokens"

    def split(self, name: str) -> Path:
        return self.path / f"{name}.parquet"

    @property
    def quarantine(self) -> Path:
        return self.path / "quarantine.parquet"


class Adapter(Artefact):
    """A standard peft folder (a model folder after full fine-tuning), and the training curve."""

    kind = "adapter"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def curve(self) -> Path:
        return self.path / "curve.csv"


class Evaluation(Artefact):
    """Per-item scores of the base and the tuned model in torch, and their metrics."""

    kind = "evaluation"

    @property
    def tasks(self) -> Path:
        """One folder a task: its requests, and each model's answers."""
        return self.path / "tasks"

    @property
    def questions(self) -> Path:
        """The held-out rows as text."""
        return self.path / "questions.parquet"

    def scores(self, model: str) -> Path:
        return self.path / f"{model}.parquet"


class Onnx(Artefact):
    """One folder a variant (`fp32`, `int8`, `int4` …), each complete with tokenizer."""

    kind = "onnx"

    @property
    def variants(self) -> list[str]:
        return list(self.facts["variants"])

    def variant(self, name: str) -> Path:
        return self.path / name


class Champion(Artefact):
    """The exported folder of the version in use when the new files were made, if there was one."""

    kind = "champion"

    @property
    def model(self) -> Path:
        return self.path / "model"


class Verification(Artefact):
    """Per-item scores of the exported files, run in ONNX Runtime, and parity with torch."""

    kind = "verification"

    def scores(self, variant: str) -> Path:
        return self.path / f"{variant}.parquet"


class Verdict(Artefact):
    """Whether the file to ship may become champion, and why."""

    kind = "verdict"


class Report(Artefact):
    """What people read: one page with plots, samples before and after, the model card."""

    kind = "report"

    @property
    def page(self) -> Path:
        return self.path / "report.html"


class Registration(Artefact):
    """What was registered under which name, and the alias it was given."""

    kind = "registration"
