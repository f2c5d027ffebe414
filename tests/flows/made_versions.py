"""Versions in a real MLflow store that hold no model: enough to move aliases between them."""

from toy_project import Toy

NAME = "empty"


def make_versions(toy: Toy, count: int, name: str = NAME) -> None:
    """Create `count` versions that the gate has let pass, in the store of this process."""
    from flows.store import client

    store = client()
    store.create_registered_model(name)
    for _ in range(count):
        version = store.create_model_version(name, (toy.root / "nothing").as_uri())
        store.set_model_version_tag(name, version.version, "verdict", "promote")
