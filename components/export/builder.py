"""onnxruntime-genai's model builder as one function: a model folder in, an ONNX folder out."""

import io
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.contracts.errors import ModelError
from components.export.beside import forget_loading
from components.export.hushed import hushed
from components.export.kept_logits import let_readers_keep_fewer
from components.export.settings import ExportSettings, WeightQuantization


def build(model: Path, out: Path, variant: str, settings: ExportSettings) -> None:
    """Write the full-precision model folder `model` as `variant` to the folder `out`.

    The graph returns the logits of every token unless told otherwise (not pruned to the last), so
    that the file shipped is the file whose perplexity is known. Weights that are to be calibrated
    have eight bits here. Raises `ModelError` with the builder's last words.
    """
    # A cache bounded to the attention window is for genai's own runtime: here caches grow.
    fixed = ["hf_token=false", "windowed_kv_cache=false"]
    options = [*quantization_options(variant, settings), *fixed]
    provider, cache = settings.execution_provider, out / "cache"
    precision = "int8" if is_calibrated(variant, settings) else variant
    said = io.StringIO()
    try:
        with hushed(said):
            from onnxruntime_genai.models import builder

            parsed = builder.parse_extra_options(
                "", str(model), str(out), precision, provider, str(cache), options
            )
            builder.create_model(
                "", str(model), str(out), precision, provider, str(cache), **parsed
            )
    # The builder has no errors of its own; whatever it raises means that this model is beyond it.
    except Exception as error:
        words = " | ".join(said.getvalue().strip().splitlines()[-3:])
        raise ModelError(
            f"the {variant} file cannot be built: {error or type(error).__name__} ({words})",
            fix="leave this variant out of export.variants, or change its settings",
        ) from error
    shutil.rmtree(cache, ignore_errors=True)
    _settle(model, out)
    let_readers_keep_fewer(out / "model.onnx")


def quantization_options(variant: str, settings: ExportSettings) -> list[str]:
    """Return the builder's KEY=VALUE options of a variant; none for a float variant."""
    quantization = quantization_of(variant, settings)
    if quantization is None:
        return []
    if quantization.calibrated:
        quantization = quantization.before_calibration()
    mixed = quantization.matmul_mixed_precision
    options: dict[str, Any] = {
        "algo_config": quantization.algo_config,
        "block_size": quantization.block_size,
        "is_symmetric": quantization.is_symmetric,
        "accuracy_level": quantization.accuracy_level,
    }
    if mixed:
        options["matmul_mixed_precision"] = ",".join(f"{k}:{mixed[k]}" for k in sorted(mixed))
    return [f"{name}={value}" for name, value in options.items()]


def quantization_of(variant: str, settings: ExportSettings) -> WeightQuantization | None:
    """Return the section of a quantised variant."""
    return {"int8": settings.int8, "int4": settings.int4}.get(variant)


def is_calibrated(variant: str, settings: ExportSettings) -> bool:
    """Return whether the weights of a variant are rounded with their inputs in mind."""
    quantization = quantization_of(variant, settings)
    return quantization is not None and quantization.calibrated


def describe(folder: Path) -> dict[str, Any]:
    """Return size, operator sets and node count of the ONNX folder, of all its graphs together."""
    import onnx

    graphs = [onnx.load(file, load_external_data=False) for file in sorted(folder.glob("*.onnx"))]
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "bytes": size,
        "megabytes": round(size / 1e6, 1),
        "opset": {
            entry.domain or "ai.onnx": entry.version
            for graph in graphs
            for entry in graph.opset_import
        },
        "nodes": sum(nodes_in(graph.graph) for graph in graphs),
    }


def nodes_in(graph: Any) -> int:
    """Return the nodes of a graph, those inside its branches too."""
    inside = (nodes_in(one.g) for node in graph.node for one in node.attribute if one.HasField("g"))
    return len(graph.node) + sum(inside)


def _settle(model: Path, out: Path) -> None:
    """Take out of the builder's files what depends on where and when they were made.

    It stamps the graph with the commit of whatever git repository encloses its installation, and
    the tokenizer with the options it was loaded with.
    """
    import onnx

    file = out / "model.onnx"
    graph = onnx.load(file, load_external_data=False)
    graph.producer_version = version_of_builder()
    file.write_bytes(graph.SerializeToString(deterministic=True))
    forget_loading(out)
    generation = model / "generation_config.json"
    if generation.is_file():
        shutil.copyfile(generation, out / generation.name)


def version_of_builder() -> str:
    """Return the version of onnxruntime-genai, whichever of its distributions is installed."""
    import onnxruntime_genai

    return str(onnxruntime_genai.__version__)


def versions() -> dict[str, str]:
    """Return the versions of what decides the bytes of an export."""
    return {
        "onnxruntime_genai": version_of_builder(),
        **{name: version(name) for name in ("onnx", "onnx-ir", "torch", "transformers")},
    }
