"""Validation of many short rows with every expectation: time, CPU and memory.

    python benchmarks/validation.py            # 1,000,000 rows
    python benchmarks/validation.py --quick    # 100,000 rows
    python benchmarks/validation.py --language # the optional look at the language too

The rows are made here: short sentences of made-up words, two labels, and some of every fault.
Before the run that counts, a tenth as many other rows are validated and accepted, so that holdout
guard and drift have something to do, and 1,000 rows serve as an evaluation set. The last line is
one JSON object.
"""

import argparse
import json
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from pydantic import TypeAdapter

from components.contracts.events import Context
from components.contracts.kinds import Dataset, Raw
from components.formats.settings import FormatSettings
from components.validation import texts as texts_module
from components.validation import validate as step
from components.validation.accepted import accept
from components.validation.checks import text_sentences
from components.validation.settings import ValidationSettings

FORMAT = {"kind": "classification", "label": {"column": "label", "names": ["bad", "good"]}}
FAULTS = (
    "caf\ufffd au lait",
    "it\x92s late",
    "R&amp;D &lt;3",
    "write to jo@fictive.net",
    "call +49 30 901820 now",
    "пишите письма",
    "",
)
LETTERS = [
    *zip(
        "etaoinshrdlcu", (12.7, 9.1, 8.2, 7.5, 7, 6.7, 6.3, 6.1, 6, 4.3, 4, 2.8, 2.8), strict=True
    ),
    *zip(
        "mwfgypbvkjxqz", (2.4, 2.4, 2.2, 2, 2, 1.9, 1.5, 1, 0.8, 0.15, 0.15, 0.1, 0.07), strict=True
    ),
]
"""Letters and how often they come in English, in percent."""
LONGEST, FAVOURITES = 24, 4
GROUPS = ("read_rows", "check_rows", "check_repeats", "check_splits", "check_totals")
LIMITS = {"seconds": 120, "gigabytes": 4}


def settings(**more: Any) -> ValidationSettings:
    values: dict[str, Any] = {
        "unescape_html": True,
        "min_characters": 3,
        "max_characters": 500,
        "max_words": 80,
        "scripts": ["Latin"],
        "max_quarantined_share": 0.5,
        "min_label_share": 0.1,
    }
    return ValidationSettings.model_validate(values | more)


def write_raw(folder: Path, count: int, seed: int) -> Raw:
    """Write rows: 4 to 24 words each, 2 % with a fault, 1 % copies, 1 % copies with a new word."""
    rng = np.random.default_rng(seed)
    kinds = rng.random(count)
    done: list[str] = []
    with Raw.write(folder) as draft, (draft.folder / "rows.jsonl").open("w") as stream:
        for start in range(0, count, 100_000):
            for text in sentences(rng, min(100_000, count - start)):
                done.append(with_fault(text, kinds[len(done)], done))
                fields = {"text": done[-1], "label": ("bad", "good")[len(done[-1]) % 2]}
                line = {"source": "made.jsonl", "row": len(done), "fields": fields}
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        draft.facts = {"rows": count, "columns": ["text", "label"]}
    return Raw.open(folder)


def sentences(rng: np.random.Generator, count: int) -> list[str]:
    """Return sentences in which the n-th word comes 1/n as often, or follows its favourite.

    A share of 0.3 of favourites gives, in 20,000 rows, 2.0 pairs a row that meet in the search for
    near copies; 20,000 texts of the VADER study give 1.7.
    """
    vocabulary, follow, sums = language()
    drawn = np.searchsorted(sums, rng.random((LONGEST, count)))
    for at in range(1, LONGEST):
        usual = follow[drawn[at - 1], rng.integers(0, FAVOURITES, count)]
        drawn[at] = np.where(rng.random(count) < 0.3, usual, drawn[at])
    lengths = rng.integers(4, LONGEST + 1, count).tolist()
    return [
        " ".join([vocabulary[word] for word in words[:length]])
        for words, length in zip(drawn.T.tolist(), lengths, strict=True)
    ]


@cache
def language() -> tuple[list[str], Any, Any]:
    """Return the words, what each likes to be followed by, and the sums of their frequencies."""
    rng = np.random.default_rng(0)
    weights = np.array([share for _, share in LETTERS]) / sum(share for _, share in LETTERS)
    letters = [letter for letter, _ in LETTERS]
    words: dict[str, None] = {}
    while len(words) < 30_000:  # frequent words are short
        length = min(2 + int(0.55 * np.log2(len(words) + 2)) + int(rng.integers(0, 4)), 12)
        words["".join(rng.choice(letters, length, p=weights))] = None
    shares = 1 / np.arange(1, len(words) + 1)
    sums = np.cumsum(shares / shares.sum())
    sums[-1] = 1
    return list(words), np.searchsorted(sums, rng.random((len(words), FAVOURITES))), sums


def with_fault(text: str, kind: float, done: list[str]) -> str:
    if kind < 0.02:
        fault = FAULTS[int(kind * 1e6) % len(FAULTS)]
        return f"{text} {fault}" if fault else ""
    if kind < 0.03 and done:
        return done[int(kind * 1e9) % len(done)]
    if kind < 0.04 and done:
        return done[int(kind * 1e9) % len(done)] + " anew"
    return text


class Meter:
    """Wall time, CPU time of this process and its children, and the peak of their memory."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, float]] = {}
        self._peak = 0
        self._stop = threading.Event()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), cpu_seconds()
        self._peak = resident()
        yield
        self.rows[name] = {
            "wall_s": round(time.perf_counter() - wall, 2),
            "cpu_s": round(cpu_seconds() - cpu, 2),
            "peak_gb": round(max(self._peak, resident()) / 1e9, 2),
        }

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self._peak = max(self._peak, resident())

    def measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return call


def resident() -> int:
    process = psutil.Process()
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def cpu_seconds() -> float:
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(who)[:2]) for who in both)


def run(folder: Path, raw: Raw, name: str, chosen: ValidationSettings, past: Path) -> Dataset:
    context = Context(root=folder, scratch=folder)
    formats = TypeAdapter(FormatSettings).validate_python(FORMAT)
    return step.validate(raw, formats, chosen, out=folder / name, context=context, accepted=past)


def measure(count: int, **more: Any) -> tuple[Meter, Dataset]:
    meter = Meter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        past = folder / "accepted"
        old = write_raw(folder / "old", count // 10, seed=1)
        accept(run(folder, old, "before", settings(), past), past)
        write_evaluation(old, folder / "benchmark.jsonl")
        raw = write_raw(folder / "raw", count, seed=2)
        chosen = settings(contamination=[{"path": "benchmark.jsonl"}], **more)
        for group in (*GROUPS, "write_tables", "gather", "write_docs", "profile_of"):
            setattr(step, group, meter.measured(group, getattr(step, group)))
        with meter.watching():
            wall, cpu = time.perf_counter(), cpu_seconds()
            dataset = run(folder, raw, "dataset", chosen, past)
            total = time.perf_counter() - wall, cpu_seconds() - cpu
        peak = max(row["peak_gb"] for row in meter.rows.values())
        meter.rows["all"] = dict(
            zip(
                ("wall_s", "cpu_s", "peak_gb"),
                (*(round(one, 2) for one in total), peak),
                strict=True,
            )
        )
        detectors(meter, raw, chosen)
        return meter, dataset


def write_evaluation(raw: Raw, file: Path) -> None:
    with raw.rows.open() as rows, file.open("w") as stream:
        for _, line in zip(range(1000), rows, strict=False):
            stream.write(json.dumps(json.loads(line)["fields"]) + "\n")


def detectors(meter: Meter, raw: Raw, chosen: ValidationSettings) -> None:
    """Measure each look at the texts by itself, in one process."""
    with raw.rows.open() as stream:
        column = pa.array([json.loads(line)["fields"]["text"] for line in stream])
    for name in text_sentences(chosen):
        with meter.part(f"  {name} (one process)"):
            texts_module.DETECTORS[name](column, chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100,000 rows")
    parser.add_argument("--language", action="store_true", help="with the `language` extra too")
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    count = 100_000 if args.quick else args.rows
    more = {"languages": ["en"]} if args.language else {}
    meter, dataset = measure(count, **more)
    print(f"{count:,} rows, {len(os.sched_getaffinity(0))} cores")
    print(f"{'':32}{'wall s':>9}{'CPU s':>9}{'peak GB':>9}")
    for name, row in meter.rows.items():
        print(f"{name:32}{row['wall_s']:9.2f}{row['cpu_s']:9.2f}{row['peak_gb']:9.2f}")
    facts = dataset.facts
    print(json.dumps({"quarantined": facts["quarantined"], "warnings": facts["warnings"]}))
    whole = meter.rows["all"]
    print(
        json.dumps(
            {
                "rows": count,
                **whole,
                "of_120_s": round(whole["wall_s"] / LIMITS["seconds"], 3),
                "of_4_gb": round(whole["peak_gb"] / LIMITS["gigabytes"], 3),
            }
        )
    )


if __name__ == "__main__":
    main()
