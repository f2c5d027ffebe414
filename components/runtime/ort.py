"""An exported model folder as a causal language model in ONNX Runtime.

Needs nothing but numpy, onnxruntime and `components.contracts.errors`, so that a registered model
can carry this file along.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ModelError

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]
Device = Literal["cpu", "cuda"]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# ONNX element types (the values of onnx.TensorProto.DataType) that a key-value cache can have.
ELEMENT_TYPES = {"tensor(float)": 1, "tensor(float16)": 10, "tensor(bfloat16)": 16}
MAX_BATCH_TOKENS = 512
"""Tokens of one run: bounds the logits in memory at 512 × vocabulary × 4 bytes (100 MB at 49k)."""

FEEDS = {"input_ids", "attention_mask", "position_ids"}


@dataclass(frozen=True)
class Cache:
    """Keys and values by input name, as OrtValues on the model's device, never changed.

    `ids` [batch, length] are the tokens they were made of.
    """

    ids: Ids
    values: dict[str, Any]


class OrtLM:
    """A causal decoder with a key-value cache, as onnxruntime-genai's builder writes it.

    Every row of a batch has one length: the builder's attention is wrong for left-padded rows, and
    without padding there is nothing to get wrong. `threads=0` takes every CPU of this process.
    Raises `ModelError` when the folder is not such a model, when the device is not to be had, or
    when the installed ONNX Runtime packages overwrite each other.
    """

    def __init__(self, folder: Path, *, threads: int = 0, device: Device = "cpu") -> None:
        config = read_config(folder)
        self.device = device
        self.context_length = int(config["model"]["context_length"])
        self.vocab_size = int(config["model"]["vocab_size"])
        decoder = config["model"]["decoder"]
        self.threads = threads or cpus()
        self.session = open_session(folder / decoder["filename"], self.threads, device)
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.past = _past_names(decoder, self.inputs)
        self.heads, self.head_size = int(decoder["num_key_value_heads"]), int(decoder["head_size"])
        unknown = sorted(self.inputs.keys() - FEEDS - self.past.keys())
        if unknown:
            raise ModelError(
                f"{folder} has inputs that this runner cannot feed: {', '.join(unknown)}",
                fix="export the model again with tuneline",
            )

    def forward(self, ids: Ids, past: Any = None, *, last_only: bool = False) -> tuple[Logits, Any]:
        """Read `ids` [batch, n] after `past`; return logits [batch, n or 1, vocabulary] and cache.

        Raises `ModelError` where the text would be longer than the model's context.
        """
        cache = past if past is not None else self._empty(ids.shape[0])
        length = cache.ids.shape[1] + ids.shape[1]
        self._check_length(length)
        # The runtime's attention takes several new tokens after a cache in batches of one row only.
        together = ids.shape[0] == 1 or ids.shape[1] == 1 or length == ids.shape[1]
        keep = 1 if last_only else ids.shape[1]
        logits, after = (self._run if together else self._single)(ids, cache, keep)
        return logits.astype(np.float32, copy=False), after

    def read(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], keep: Sequence[int]
    ) -> Iterator[tuple[int, Logits]]:
        """See `components.scoring.lm.CausalLM.read`; raises `ModelError` as `forward` does."""
        self._check_length(len(prefix) + max(map(len, rows), default=0))
        past = self._prefix(prefix)

        def run(group: list[int]) -> list[tuple[int, Logits]]:
            ids = np.asarray([rows[index] for index in group], np.int64)
            most = max(keep[index] for index in group)
            logits, _ = self._run(ids, past or self._empty(len(group)), most)
            logits = logits.astype(np.float32, copy=False)
            return [(i, row[most - keep[i] :]) for i, row in zip(group, logits, strict=True)]

        batches = _batches(rows, MAX_BATCH_TOKENS if past is None else 0)
        side_by_side = 1 if self.device == "cuda" else max(1, cpus() // self.threads)
        for found in _side_by_side(run, batches, side_by_side):
            yield from found

    def select(self, past: Any, rows: Sequence[int]) -> Cache:
        """See `components.runtime.batch.BatchDecoder.select`."""
        places = np.asarray(rows, np.int64)
        values = {name: self._value(v.numpy()[places]) for name, v in past.values.items()}
        return Cache(past.ids[places], values)

    def _check_length(self, length: int) -> None:
        if length > self.context_length:
            raise ModelError(
                f"{length} tokens do not fit the model's context of {self.context_length}",
                fix="shorten the text",
            )

    def _prefix(self, prefix: Sequence[int]) -> Cache | None:
        if not len(prefix):
            return None
        cache: Cache = self.forward(np.asarray([prefix], np.int64), last_only=True)[1]
        return cache

    def _single(self, ids: Ids, cache: Cache, keep: int) -> tuple[NDArray[Any], Cache]:
        """Read `ids` row by row, all tokens together."""
        rows = []
        for row in range(ids.shape[0]):
            part = slice(row, row + 1)
            values = {name: self._value(v.numpy()[part]) for name, v in cache.values.items()}
            rows.append(self._run(ids[part], Cache(cache.ids[part], values), keep))
        after = {
            name: self._value(np.concatenate([past.values[name].numpy() for _, past in rows]))
            for name in self.past
        }
        seen = np.concatenate([past.ids for _, past in rows])
        return np.concatenate([logits for logits, _ in rows]), Cache(seen, after)

    def _run(self, ids: Ids, cache: Cache, keep: int) -> tuple[NDArray[Any], Cache]:
        """Run the graph once; return the logits of the last `keep` tokens and the new cache."""
        seen = np.concatenate([cache.ids, ids], axis=1, dtype=np.int64)
        positions = np.arange(cache.ids.shape[1], seen.shape[1], dtype=np.int64)
        feeds = {
            "input_ids": np.ascontiguousarray(ids, np.int64),
            "attention_mask": np.ones(seen.shape, np.int64),
            "position_ids": np.ascontiguousarray(np.broadcast_to(positions, ids.shape)),
        }
        binding = self.session.io_binding()
        for name in FEEDS & self.inputs.keys():
            binding.bind_cpu_input(name, feeds[name])
        for name, value in cache.values.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output("logits", "cpu")
        for name in self.past.values():
            binding.bind_output(name, self.device)
        self.session.run_with_iobinding(binding)
        logits, *values = binding.get_outputs()
        # The array is a view on the runtime's own memory and keeps it alive: a part is copied, so
        # that the whole can go.
        array = logits.numpy()
        kept = array if keep == array.shape[1] else array[:, -keep:].copy()
        return kept, Cache(seen, dict(zip(self.past, values, strict=True)))

    def _empty(self, batch: int) -> Cache:
        import onnxruntime

        shape = [batch, self.heads, 0, self.head_size]
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                shape, ELEMENT_TYPES[self.inputs[name].type], self.device, 0
            )
            for name in self.past
        }
        return Cache(np.zeros((batch, 0), np.int64), values)

    def _value(self, array: NDArray[Any]) -> Any:
        import onnxruntime

        return onnxruntime.OrtValue.ortvalue_from_numpy(array, self.device, 0)


def _side_by_side(
    run: Callable[[list[int]], Any], batches: Iterable[list[int]], workers: int
) -> Iterator[Any]:
    """Yield `run` of every batch, in order; few results wait at a time, as logits are large."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Any]] = deque()
        for batch in batches:
            waiting.append(pool.submit(run, batch))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _batches(rows: Sequence[Sequence[int]], limit: int) -> Iterator[list[int]]:
    """Yield indices of rows of one length, of at most `limit` tokens together, or of one row."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for length, group in groupby(order, key=lambda index: len(rows[index])):
        same, size = list(group), max(1, limit // length)
        yield from (same[start : start + size] for start in range(0, len(same), size))


def read_config(folder: Path) -> dict[str, Any]:
    """Return the folder's `genai_config.json`; raise `ModelError` if it has none."""
    file = folder / "genai_config.json"
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelError(
            f"{folder} is not an exported model: {file.name} cannot be read",
            fix="run the export again",
        ) from error
    return config


def open_session(file: Path, threads: int, device: Device) -> Any:
    """Open an inference session on exactly the device asked for; raise `ModelError` otherwise."""
    check_packages(_installed())
    import onnxruntime

    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise ModelError(
            f"ONNX Runtime has no {provider} here",
            fix="install the gpu extra (`pip install -e '.[gpu]'`), or use device cpu",
        )
    options = onnxruntime.SessionOptions()
    # Its own default counts cores, and in a virtual machine it takes two of them for one.
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    providers = [provider] if device == "cpu" else [provider, PROVIDERS["cpu"]]
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=providers)
    # Its errors share no parent but Exception, and each means that this file does not run.
    except Exception as error:
        raise ModelError(
            f"ONNX Runtime cannot open {file}: {error}", fix="run the export again"
        ) from error
    # Without its CUDA libraries the runtime lists CUDA, then runs on the CPU with only a warning.
    if session.get_providers()[0] != provider:
        raise ModelError(
            f"{provider} was asked for, but {file} would run on {session.get_providers()[0]}",
            fix="install CUDA and cuDNN as the gpu extra names them, or use device cpu",
        )
    return session


def check_packages(installed: Iterable[str]) -> None:
    """Raise `ModelError` unless exactly one ONNX Runtime distribution is among the names.

    The CPU and the GPU distribution write the same files: with both installed, the later one has
    broken the other, and pip sees no conflict.
    """
    found = sorted({name.lower() for name in installed} & {"onnxruntime", "onnxruntime-gpu"})
    if len(found) > 1:
        raise ModelError(
            f"{' and '.join(found)} are both installed and overwrite each other",
            fix="pip uninstall both, then install the cpu or the gpu extra",
        )
    if not found:
        raise ModelError(
            "ONNX Runtime is not installed",
            fix="install one extra: `pip install -e '.[cpu]'` or `pip install -e '.[gpu]'`",
        )


def cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _installed() -> list[str]:
    return [str(found.metadata["Name"]) for found in metadata.distributions()]


def _past_names(decoder: dict[str, Any], inputs: dict[str, Any]) -> dict[str, str]:
    """Map every cache input to the output that continues it, in the order of the layers."""
    reads, writes = decoder["inputs"], decoder["outputs"]
    pairs = {}
    for layer in range(int(decoder["num_hidden_layers"])):
        for kind in ("key", "value"):
            pairs[reads[f"past_{kind}_names"] % layer] = writes[f"present_{kind}_names"] % layer
    missing = sorted(pairs.keys() - inputs.keys())
    if missing:
        raise ModelError(
            f"the model has no input {missing[0]}", fix="export the model again with tuneline"
        )
    return pairs
