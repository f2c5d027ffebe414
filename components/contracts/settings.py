"""The parent of every settings section: immutable, and a stranger key is an error."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen section of a recipe. Unknown keys raise `pydantic.ValidationError`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
