"""An exported model folder as a causal language model in ONNX Runtime.

Needs nothing but numpy, onnxruntime and `components.contracts.errors`, so that a registered model
can carry this file along.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ModelError
from components.runtime.grouping import alike, batches, side_by_side
from components.runtime.session import Device, cpus, open_session

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]

# ONNX element types (the values of onnx.TensorProto.DataType) that a key-value cache can have.
ELEMENT_TYPES = {"tensor(float)": 1, "tensor(float16)": 10, "tensor(bfloat16)": 16}
ROOM = 256
"""Most free places that a cache gets at once: it grows as answers do, not by what they may be."""
PIECE = 256
"""Most tokens of one row that are read at once: in pieces, attention does not compute the half that
lies ahead of a token, and a long prompt needs less memory."""
MAX_BATCH_TOKENS = 512
"""Tokens of one run: bounds the logits in memory at 512 × vocabulary × 4 bytes (100 MB at 49k)."""

FEEDS = {"input_ids", "attention_mask", "position_ids"}
KEEP = "num_logits_to_keep"
"""The input that says how many places from the end get logits; files without it give all."""


@dataclass(frozen=True)
class Cache:
    """Keys and values by input name, as OrtValues [rows, heads, places, width] on the device.

    `lengths` [rows] says how many tokens each row has; they fill its places from the left.
    `bound` is what a step in place has tied to these values, for the next one.
    """

    lengths: Ids
    values: dict[str, Any]
    bound: Any = None

    @property
    def places(self) -> int:
        """How many tokens a row can have here."""
        return int(next(iter(self.values.values())).shape()[2])

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def length(self) -> int:
        """How many tokens the longest row has."""
        return int(self.lengths.max(initial=0))


class OrtLM:
    """A causal decoder with a key-value cache, as onnxruntime-genai's builder writes it.

    Rows of a batch begin at place 0 of the cache and are padded on the right: the builder's
    attention counts a row's tokens from its mask, and is wrong for rows padded on the left.
    `threads=0` takes every CPU of this process.
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
        self.sessions = (self.session,)
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.past = _past_names(decoder, self.inputs)
        self.keeps_fewer = KEEP in {v.name for v in self.session.get_overridable_initializers()}
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
        length = cache.length + ids.shape[1]
        self._check_length(length)
        # The runtime's attention takes several new tokens after a cache in batches of one row only.
        together = length == ids.shape[1] or (cache.rows == ids.shape[0] and 1 in ids.shape)
        keep = 1 if last_only else ids.shape[1]
        logits, after = (self._read if together else self._single)(ids, cache, keep)
        return logits.astype(np.float32, copy=False), after

    def begin(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], room: int
    ) -> tuple[Logits, Cache]:
        """See `components.runtime.generate.Decoder.begin`; raises `ModelError` as `forward`."""
        tails = list(map(len, rows))
        longest = len(prefix) + max(tails)
        self._check_length(longest)
        # Behind a prefix the rows go one by one, which pays where it is most of what there is.
        shared = len(prefix) >= sum(tails) / len(tails)
        read = self._begin_behind(prefix, rows) if shared else self._begin_padded(prefix, rows)
        shape = (len(rows), self.heads, longest + min(room, ROOM), self.head_size)
        logits, kept = np.empty((len(rows), self.vocab_size), np.float32), dict[str, NDArray[Any]]()
        for places, last, cache in read:
            logits[places] = last
            for name, value in cache.values.items():
                part = value.numpy()
                whole = kept.setdefault(name, np.zeros(shape, part.dtype))
                whole[places, :, : part.shape[2]] = part
        values = {name: self._value(kept.pop(name)) for name in self.past}
        return logits, Cache(len(prefix) + np.array(tails, np.int64), values)

    def step(self, tokens: Ids, past: Cache) -> tuple[Logits, Cache]:
        """See `components.runtime.generate.Decoder.step`; raises `ModelError` as `forward`."""
        self._check_length(past.length + 1)
        if past.length == past.places:
            past = self._with_room(past)
        binding = past.bound or self._bind_in_place(past)
        lengths = past.lengths + 1
        self._feed(binding, tokens[:, None], past.lengths, lengths)
        binding.bind_output("logits", "cpu")  # anew: what the last step returned is a view on it
        self.session.run_with_iobinding(binding)
        logits = binding.get_outputs()[0].numpy()[:, 0].astype(np.float32, copy=False)
        return logits, Cache(lengths, past.values, binding)

    def _begin_behind(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]]
    ) -> Iterator[tuple[list[int], Logits, Cache]]:
        """Yield (places, logits behind the last tokens, cache) of each row behind one prefix."""
        past = self._prefix(prefix) or self._empty(1)
        for place, row in enumerate(rows):
            logits, cache = self._read(np.asarray([row], np.int64), past, 1)
            yield [place], logits[:, 0], cache

    def _begin_padded(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]]
    ) -> Iterator[tuple[list[int], Logits, Cache]]:
        """Yield the same for rows read together, padded on the right."""
        for places in alike(rows, len(prefix), MAX_BATCH_TOKENS):
            whole = [[*prefix, *rows[place]] for place in places]
            if len(whole) == 1:
                logits, cache = self._read(np.array(whole, np.int64), self._empty(1), 1)
                yield places, logits[:, 0], cache
                continue
            tails = np.array(list(map(len, whole)), np.int64)
            ids = np.zeros((len(whole), tails.max()), np.int64)
            for row, tokens in zip(ids, whole, strict=True):
                row[: len(tokens)] = tokens
            keep = int(tails.max() - tails.min()) + 1
            logits, cache = self._run(ids, self._empty(len(whole)), keep, tails=tails)
            yield places, logits[np.arange(len(whole)), tails - tails.min()], cache

    def read(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], keep: Sequence[int]
    ) -> Iterator[tuple[int, Logits]]:
        """See `components.scoring.lm.CausalLM.read`; raises `ModelError` as `forward` does."""
        self._check_length(len(prefix) + max(map(len, rows), default=0))
        past = self._prefix(prefix)

        def run(group: list[int]) -> list[tuple[int, Logits]]:
            ids = np.asarray([rows[index] for index in group], np.int64)
            most = max(keep[index] for index in group)
            logits, _ = self._read(ids, past or self._empty(len(group)), most)
            logits = logits.astype(np.float32, copy=False)
            return [(i, row[most - keep[i] :]) for i, row in zip(group, logits, strict=True)]

        groups = batches(rows, MAX_BATCH_TOKENS if past is None else 0)
        workers = 1 if self.device == "cuda" else max(1, cpus() // self.threads)
        for found in side_by_side(run, groups, workers):
            yield from found

    def select(self, past: Any, rows: Sequence[int]) -> Cache:
        """See `components.runtime.batch.BatchDecoder.select`."""
        places = np.asarray(rows, np.int64)
        values = {name: self._value(v.numpy()[places]) for name, v in past.values.items()}
        return Cache(past.lengths[places], values)

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
        """Read `ids` row by row, all tokens together, each behind its own row or the only one."""
        rows = []
        for row in range(len(ids)):
            behind = cache if cache.rows == 1 else self.select(cache, [row])
            rows.append(self._read(ids[row : row + 1], behind, keep))
        after = {
            name: self._value(np.concatenate([past.values[name].numpy() for _, past in rows]))
            for name in self.past
        }
        lengths = np.concatenate([past.lengths for _, past in rows])
        return np.concatenate([logits for logits, _ in rows]), Cache(lengths, after)

    def _read(self, ids: Ids, cache: Cache, keep: int) -> tuple[NDArray[Any], Cache]:
        """Do as `_run` does; a single row goes in pieces, the last one with all that is kept."""
        start = 0
        while ids.shape[0] == 1 and ids.shape[1] - start - PIECE >= keep:
            _, cache = self._run(ids[:, start : start + PIECE], cache, 1)
            start += PIECE
        return self._run(ids[:, start:], cache, keep)

    def _run(
        self, ids: Ids, cache: Cache, keep: int, *, tails: Ids | None = None
    ) -> tuple[NDArray[Any], Cache]:
        """Run the graph once; return the logits of the last `keep` places and the new cache.

        `tails` [rows] are the tokens that each row of `ids` has, if not all.
        """
        lengths = cache.lengths + (ids.shape[1] if tails is None else tails)
        binding = self.session.io_binding()
        self._feed(binding, ids, cache.lengths, lengths)
        if self.keeps_fewer and keep < ids.shape[1]:
            # A default of the graph that is given is no input by name, so it goes in as a value.
            binding.bind_ortvalue_input(KEEP, self._value(np.array(keep, np.int64)))
        for name, value in cache.values.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output("logits", "cpu")
        for output in self.past.values():
            binding.bind_output(output, self.device)
        self.session.run_with_iobinding(binding)
        logits, *values = binding.get_outputs()
        # The array is a view on the runtime's own memory and keeps it alive: a part is copied, so
        # that the whole can go.
        array = logits.numpy()
        kept = array if keep == array.shape[1] else array[:, -keep:].copy()
        return kept, Cache(lengths, dict(zip(self.past, values, strict=True)))

    def _feed(self, binding: Any, ids: Ids, before: Ids, after: Ids) -> None:
        """Bind tokens [rows, n], the mask of `after` [rows] tokens, and places from `before` on."""
        feeds = {
            "input_ids": np.ascontiguousarray(ids, np.int64),
            "attention_mask": np.int64(np.arange(after.max()) < after[:, None]),
            "position_ids": before[:, None] + np.arange(ids.shape[1], dtype=np.int64),
        }
        for name in FEEDS & self.inputs.keys():
            binding.bind_cpu_input(name, feeds[name])

    def _bind_in_place(self, cache: Cache) -> Any:
        """Return a binding whose new keys and values go into the cache's own free places."""
        binding = self.session.io_binding()
        binding.bind_output("logits", "cpu")
        for name, output in self.past.items():
            binding.bind_ortvalue_input(name, cache.values[name])
            binding.bind_ortvalue_output(output, cache.values[name])
        return binding

    def _with_room(self, cache: Cache) -> Cache:
        """Return a copy of the cache with `ROOM` free places more."""
        free = ((0, 0), (0, 0), (0, ROOM), (0, 0))
        values = {name: self._value(np.pad(v.numpy(), free)) for name, v in cache.values.items()}
        return Cache(cache.lengths, values)

    def _empty(self, batch: int) -> Cache:
        import onnxruntime

        shape = [batch, self.heads, 0, self.head_size]
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                shape, ELEMENT_TYPES[self.inputs[name].type], self.device, 0
            )
            for name in self.past
        }
        return Cache(np.zeros(batch, np.int64), values)

    def _value(self, array: NDArray[Any]) -> Any:
        import onnxruntime

        return onnxruntime.OrtValue.ortvalue_from_numpy(array, self.device, 0)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the folder's `genai_config.json`; raise `ModelError` if it has none."""
    file = folder / "genai_config.json"
    if not file.is_file() and (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} holds a classifier: it gives a text a label and writes none",
            fix="ask the registered version for its label (mlflow.pyfunc.load_model), or "
            "components.runtime.served.open_served",
        )
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelError(
            f"{folder} is not an exported model: {file.name} cannot be read",
            fix="run the export again",
        ) from error
    return config


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
