"""What a run is made from."""

from dataclasses import dataclass

from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Tokens


@dataclass(frozen=True)
class Run:
    """The inputs of a run, where it works, and the digest of all that it is made from."""

    base: BaseModelFolder
    tokens: Tokens
    context: Context
    mark: str
