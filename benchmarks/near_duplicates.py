"""Near-duplicates against plain datasketch: recall on planted copies, false positives, speed.

    python -m benchmarks.near_duplicates [--quick] [--data FOLDER]

FOLDER holds the VADER study's `*_GroundTruth.txt` (tweets, sentences of product and film reviews,
of editorials); without it the source distribution of vaderSentiment is fetched with pip. Recall:
every text of five words or more, once with a tenth of its words and once with a tenth of its
characters edited, is searched among the originals. False positives: texts flagged among all clean
ones, exact duplicates taken out before. `COPIES` are flagged texts that a person who read all
flagged pairs found to be the same text revised; `NOTICES` are machine-written notices with other
names filled in. All others are counted as false. Speed: one core for both, on the same texts.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.edits import EDITS
from components.validation.detect import pairs
from components.validation.detect.columns import column
from components.validation.detect.folded import folded
from components.validation.detect.hashing import firsts
from components.validation.detect.near import near_duplicates, near_matches, signatures

VADER = "vaderSentiment==0.5"
COPIES = [
    "d261951b",
    "c97415b5",
    "0d90d561",
    "0df09f13",
    "7349cf48",
    "bbc01db3",
    "c544a1be",
    "97db8921",
    "eee15a20",
    "cb058909",
    "ad492334",
    "1f66f644",
    "9a36f7f9",
    "989ed41c",
    "65b4c489",
    "22dc3916",
]
NOTICES = ["bfff7208", "6dc9d971", "ed84210d", "23b948cb", "92e4d8ed", "1b2c1ef1", "784143f3"]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        sets = _clean_sets(options.data or _fetched(Path(folder)))
    if options.quick:
        sets = {name: texts[:1500] for name, texts in sets.items()}
    result: dict[str, Any] = {"rows": sum(map(len, sets.values()))}
    result |= recall(sets)
    result |= false_positives([text for texts in sets.values() for text in texts])
    result |= speed(
        [text for texts in sets.values() for text in texts], 2000 if options.quick else 10000
    )
    print(json.dumps(result))


def recall(sets: dict[str, list[str]]) -> dict[str, float]:
    """Return the share of edited copies whose original is found, with texts and with signatures."""
    print(f"{'recall':24}{'edited':12}{'texts':>8}{'found':>8}{'by signature':>14}")
    every: dict[str, list[float]] = {}
    for name, texts in sets.items():
        long = [text for text in texts if len(text.split()) >= 5]
        right, stored = np.arange(len(long)), signatures(long)
        for kind, edit in EDITS.items():
            rng = random.Random(0)
            copies = [edit(text, rng, 0.1) for text in long]
            shares = [float((near_matches(copies, o) == right).mean()) for o in (long, stored)]
            print(f"{name:24}{kind:12}{len(long):>8}{shares[0]:>8.4f}{shares[1]:>14.4f}")
            every.setdefault(f"recall_{kind}", []).append(shares[0])
            every.setdefault(f"recall_{kind}_by_signature", []).append(shares[1])
    return {key: round(float(np.mean(values)), 4) for key, values in every.items()}


def false_positives(texts: list[str]) -> dict[str, float]:
    """Print what is flagged among clean texts and return the shares."""
    first = near_duplicates(texts)
    flagged = np.flatnonzero(first != np.arange(len(texts)))
    marks = [hashlib.sha256(texts[row].encode()).hexdigest()[:8] for row in flagged]
    verdicts = ["copy" if m in COPIES else "notice" if m in NOTICES else "FALSE" for m in marks]
    for row, mark, verdict in zip(flagged, marks, verdicts, strict=True):
        print(f"{mark} {verdict:7}{texts[first[row]][:60]!r} | {texts[row][:60]!r}")
    false = verdicts.count("FALSE")
    return {
        "flagged": round(len(flagged) / len(texts), 5),
        "false_positives": round(false / len(texts), 5),
        "false_positives_with_notices": round((false + verdicts.count("notice")) / len(texts), 5),
    }


def speed(texts: list[str], count: int) -> dict[str, float]:
    """Return how many times as fast as datasketch's MinHash and LSH the whole search is."""
    pairs.WORKERS = 1
    texts = random.Random(0).sample(texts, min(count, len(texts)))
    near_duplicates(texts[:100])  # tables are made at the first call
    ours, theirs = _timed(lambda: near_duplicates(texts)), _timed(lambda: _datasketch(texts))
    print(f"{len(texts)} rows: ours {ours:.2f} s, datasketch {theirs:.2f} s of one core")
    return {"times_datasketch": round(theirs / ours, 1)}


def _datasketch(texts: list[str]) -> list[list[str]]:
    from datasketch import MinHash, MinHashLSH

    index, found = MinHashLSH(num_perm=128, params=(32, 4)), []
    for row, shingles in enumerate(_shingles(texts)):
        sketch = MinHash(num_perm=128)
        sketch.update_batch(shingles)
        found.append(index.query(sketch))
        index.insert(str(row), sketch)
    return found


def _shingles(texts: list[str]) -> Iterator[list[bytes]]:
    for text in texts:
        line = " ".join(text.lower().split())
        yield [line[n : n + 4].encode() for n in range(max(1, len(line) - 3))]


def _timed(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _clean_sets(folder: Path) -> dict[str, list[str]]:
    """Return the texts of each set, without those that are equal to another one when folded."""
    sets, names = [], []
    for path in sorted(folder.rglob("*_GroundTruth.txt")):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        sets.append([line.split("\t")[2] for line in lines if line.count("\t") >= 2])
        names.append(path.name.split("_")[0])
    every = [text for texts in sets for text in texts]
    kept = set(firsts(folded(column(every)).ids())[0].tolist())
    found, row = {}, 0
    for name, texts in zip(names, sets, strict=True):
        found[name] = [text for n, text in enumerate(texts, start=row) if n in kept]
        row += len(texts)
    return found


def _fetched(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*pip, "--no-build-isolation", "-d", folder, VADER], check=True)
    with zipfile.ZipFile(next(folder.glob("*.zip"))) as outer:
        outer.extractall(folder)
    archive = next(folder.rglob("hutto_ICWSM_2014.tar.gz"))
    with tarfile.open(archive) as inner:
        inner.extractall(folder, filter="data")
    return folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="1,500 texts of each set")
    parser.add_argument("--data", type=Path, help="folder with the *_GroundTruth.txt files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
