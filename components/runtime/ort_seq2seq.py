"""An exported encoder-decoder in ONNX Runtime, behind the interface of a decoder.

A prompt is the source: the encoder reads it, and the decoder writes the answer to it. Needs nothing
but numpy, onnxruntime and `components.contracts`, so that a registered model can carry this file
along.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ModelError
from components.runtime.grouping import side_by_side
from components.runtime.ort import Ids, Logits
from components.runtime.padding import padded
from components.runtime.seq2seq_rows import Pair, chunks, parted
from components.runtime.session import Device, cpus, open_session

ENCODER, DECODER = "encoder_model.onnx", "decoder_model_merged.onnx"
"""The names that transformers.js and optimum look for."""

NO_LIMIT = 1 << 20
"""Tokens that are never too many: positions are relative in this family."""

PAST, PRESENT = "past_key_values.", "present."
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Written:
    """What has been read and written so far, on the device.

    `mask` and `states` are the sources' [rows, longest source, …]; `values` the decoder's keys and
    values by input name, its own and those of the source.
    """

    mask: Any
    states: Any
    values: Values


class OrtSeq2Seq:
    """The two graphs of an encoder-decoder, as `components.scoring.lm.CausalLM`.

    `threads=0` takes every CPU of this process. Raises `ModelError` when the folder is not such a
    model, or when the device is not to be had.
    """

    def __init__(self, folder: Path, *, threads: int = 0, device: Device = "cpu") -> None:
        config = read_config(folder)
        self.device, self.threads = device, threads or cpus()
        self.start = int(config["decoder_start_token_id"])
        self.pad = int(config.get("pad_token_id") or 0)
        self.vocab_size = int(config["vocab_size"])
        self.context_length = NO_LIMIT
        self.encoder = open_session(folder / ENCODER, self.threads, device)
        self.decoder = open_session(folder / DECODER, self.threads, device)
        self.sessions = (self.encoder, self.decoder)
        inputs = {value.name: value.shape for value in self.decoder.get_inputs()}
        self.past = {name: shape for name, shape in inputs.items() if name.startswith(PAST)}
        if not self.past or "use_cache_branch" not in inputs:
            raise ModelError(
                f"{folder / DECODER} is not a decoder with a cache",
                fix="export the model again with tuneline",
            )

    @property
    def first_seen(self) -> list[int]:
        """See `components.runtime.generate.first_seen`."""
        return [self.start]

    def forward(self, ids: Ids, past: Any = None, *, last_only: bool = False) -> tuple[Logits, Any]:
        """Read sources `ids` [batch, n] and begin, or with `past` go on with `ids` written.

        Logits are [batch, 1, vocabulary] after a source, else of every token or of the last.
        """
        if past is None:
            return self._begun([list(map(int, row)) for row in ids])
        logits, after = self._decode(past, ids, on=True)
        return (logits[:, -1:] if last_only else logits), after

    def begin(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], room: int
    ) -> tuple[NDArray[np.float32], Written]:
        """See `components.runtime.batch.BatchDecoder.begin`."""
        del room
        logits, written = self._begun([[*prefix, *row] for row in rows])
        return logits[:, 0], written

    def step(self, tokens: Ids, past: Written) -> tuple[NDArray[np.float32], Written]:
        """See `components.runtime.batch.BatchDecoder.step`."""
        logits, written = self._decode(past, tokens[:, None], on=True)
        return logits[:, 0], written

    def select(self, past: Written, rows: Sequence[int]) -> Written:
        """See `components.runtime.batch.BatchDecoder.select`."""
        places = np.asarray(rows, np.int64)
        pick = partial(self._picked, places=places)
        values = {name: pick(value) for name, value in past.values.items()}
        return Written(pick(past.mask), pick(past.states), values)

    def read(
        self, prefix: Sequence[int], rows: Sequence[Sequence[int]], keep: Sequence[int]
    ) -> Iterator[tuple[int, Logits]]:
        """See `components.scoring.lm.CausalLM.read`: a row's last `keep - 1` tokens are target."""
        pairs = [
            parted([*prefix, *row], kept, self.start) for row, kept in zip(rows, keep, strict=True)
        ]

        def run(chunk: list[int]) -> list[tuple[int, Logits]]:
            logits = self._read([pairs[index] for index in chunk])
            return [(i, row[: keep[i]]) for i, row in zip(chunk, logits, strict=True)]

        workers = 1 if self.device == "cuda" else max(1, cpus() // self.threads)
        for found in side_by_side(run, chunks(pairs), workers):
            yield from found

    def _read(self, pairs: Sequence[Pair]) -> Logits:
        """Return the logits [pairs, longest target, vocabulary]; each source is encoded once."""
        sources = list(dict.fromkeys(source for source, _ in pairs))
        mask, states = self._encode(sources)
        place = {source: index for index, source in enumerate(sources)}
        of = np.array([place[source] for source, _ in pairs], np.int64)
        targets, _ = padded([target for _, target in pairs], self.pad)
        written = Written(self._value(mask[of]), self._value(states[of]), self._empty(len(pairs)))
        return self._decode(written, targets, on=False, cached=False)[0]

    def _begun(self, sources: Sequence[Sequence[int]]) -> tuple[Logits, Written]:
        mask, states = self._encode(sources)
        starts = np.full((len(sources), 1), self.start, np.int64)
        empty = self._empty(len(sources))
        return self._decode(
            Written(self._value(mask), self._value(states), empty), starts, on=False
        )

    def _encode(self, sources: Sequence[Sequence[int]]) -> tuple[Ids, NDArray[Any]]:
        """Return mask [rows, longest] and states [rows, longest, width] of sources."""
        ids, mask = padded(sources, self.pad)
        feeds = {"input_ids": ids, "attention_mask": mask}
        return mask, self.encoder.run(["last_hidden_state"], feeds)[0]

    def _decode(
        self, past: Written, ids: Ids, *, on: bool, cached: bool = True
    ) -> tuple[Logits, Written]:
        """Run the decoder on `ids` [rows, n]: `on` from its cache, or from the beginning."""
        binding = self.decoder.io_binding()
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(ids, np.int64))
        binding.bind_cpu_input("use_cache_branch", np.array([on]))
        binding.bind_ortvalue_input("encoder_attention_mask", past.mask)
        binding.bind_ortvalue_input("encoder_hidden_states", past.states)
        for name, value in past.values.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_output("logits", "cpu")
        # Going on, the graph gives nothing for the source's keys: they stay what they are.
        fresh = [n for n in self.past if not (on and ".encoder." in n)] if cached else []
        for name in fresh:
            binding.bind_output(PRESENT + name.removeprefix(PAST), self.device)
        self.decoder.run_with_iobinding(binding)
        logits, *found = binding.get_outputs()
        values = {**past.values, **dict(zip(fresh, found, strict=True))}
        array = logits.numpy().astype(np.float32, copy=False)
        return array, Written(past.mask, past.states, values)

    def _empty(self, rows: int) -> Values:
        """Return a cache of nothing: what the graph wants to be given where it has none."""
        return {
            name: self._value(np.zeros((rows, int(shape[1]), 0, int(shape[3])), np.float32))
            for name, shape in self.past.items()
        }

    def _picked(self, value: Any, *, places: Ids) -> Any:
        return self._value(value.numpy()[places])

    def _value(self, array: NDArray[Any]) -> Any:
        import onnxruntime

        return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self.device, 0)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the folder's `config.json`; raise `ModelError` if it is no encoder-decoder's."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelError(
            f"{folder} is not an exported model: config.json cannot be read",
            fix="run the export again",
        ) from error
    if config.get("decoder_start_token_id") is None:
        raise ModelError(
            f"{folder} is no exported encoder-decoder: its config.json names no "
            "decoder_start_token_id",
            fix="export the model again with tuneline",
        )
    return config
