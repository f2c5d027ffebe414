"""torch.compile in place of the hand-written fast paths, where there is a compiler."""

from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError

if TYPE_CHECKING:
    import torch


def compile_decoder(model: Any, device: "torch.device") -> None:
    """Compile the decoder of `model`, for batches of any shape; its weights stay where they are.

    The head is left out: it runs on the labelled tokens alone, whose number changes every step.

    Raises:
        ModelError: there is no compiler for `device` here.
    """
    need_compiler(device)
    model.get_decoder().compile(dynamic=True)


def need_compiler(device: "torch.device") -> None:
    """Raise `ModelError` unless what torch.compile generates for `device` can be built here."""
    missing = without_triton() if device.type == "cuda" else without_cpp()
    if missing:
        raise ModelError(
            f"training.torch_compile: {missing}",
            fix="install it, or set training.torch_compile: false (the default paths need none)",
        )


def without_triton() -> str | None:
    """Return what is missing for a GPU."""
    from torch.utils._triton import has_triton

    return None if has_triton() else "torch.compile needs triton on a GPU, which is not installed"


def without_cpp() -> str | None:
    """Return what is missing for the CPU."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "torch.compile needs a C++ compiler (g++ or clang++), and none was found"
    return None
