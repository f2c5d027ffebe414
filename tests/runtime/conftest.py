import pytest
from tiny_export import write_adapter, write_export

from components.contracts.kinds import Adapter, BaseModelFolder, Onnx


@pytest.fixture(scope="session")
def tiny_adapter(tiny_base: BaseModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return write_adapter(tiny_base, tmp_path_factory.mktemp("adapter") / "adapter")


@pytest.fixture(scope="session")
def tiny_onnx(
    tiny_base: BaseModelFolder, tiny_adapter: Adapter, tmp_path_factory: pytest.TempPathFactory
) -> Onnx:
    """The tiny model as fp32, int8 and int4 files."""
    return write_export(tiny_base, tiny_adapter, tmp_path_factory.mktemp("export"))
