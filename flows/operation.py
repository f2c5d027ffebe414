"""The recipe's section for what is done around a run: it changes no artefact."""

from components.contracts.settings import Settings


class OperationSettings(Settings):
    """What a finished run does beside its artefacts.

    `commit_lock` commits dvc.lock (this recipe's part of it alone) and files of metrics that git
    keeps; `push_lock` also pushes the branch and, with a DVC remote, the data.
    """

    commit_lock: bool = False
    push_lock: bool = False
