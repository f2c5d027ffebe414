"""What can go wrong with an alias, a version, or two people at once."""

from components.contracts.errors import TunelineError


class RegistryError(TunelineError):
    """A model, version or alias is not there, or is not what was registered."""


class ConflictError(RegistryError):
    """Another promotion was faster: the champion is not the one that this one began with."""

    exit_code = 3
