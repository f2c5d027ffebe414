"""Memory of the tokenize step does not grow with the data."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_tokenizer import made_tokenizer

from components.contracts.kinds import BaseModelFolder

ROOT = Path(__file__).resolve().parents[2]
CHATML = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WRITE = """
import json, sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from components.contracts.kinds import Dataset
from components.contracts.tables import dataset_schema
path, rows, long = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(0)
words = ["".join(w) for w in rng.choice(list("etaoinshrdlu"), (30_000, 6))]
def line(n):
    text = " ".join(rng.choice(words, long))
    answer = "fine " + text[:90]
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    return {"id": str(n), "source": "made", "row": n, "text": text, "messages": json.dumps(turns),
            "answer": answer, "choices": [], "target": -1}
size = 0
with Dataset.write(path) as draft:
    for split, count in (("train", rows), ("validation", 0), ("test", 2)):
        table = pa.Table.from_pylist([line(n) for n in range(count)], schema=dataset_schema())
        size += table.nbytes
        pq.write_table(table, draft.folder / f"{split}.parquet", row_group_size=10_000_000)
print(size)
"""
TOKENIZE = """
import json, sys
from pathlib import Path
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Dataset
from components.tokenization.settings import TokenizationSettings
from components.tokenization.tokenize import tokenize
base, data, out = map(Path, sys.argv[1:])
made = tokenize(BaseModelFolder.open(base), Dataset.open(data), TokenizationSettings(),
                out=out, context=Context(out.parent, out.parent))
# Not ru_maxrss: a child is born with the peak of the process that started it.
status = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps({"kb": peak, "tokens": made.facts["splits"]["train"]["tokens"]}))
"""


def child(code: str, *arguments: object) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    with BaseModelFolder.write(tmp_path / "base") as draft:
        (draft.folder / "model").mkdir()
        made_tokenizer(draft.folder / "model", CHATML, "<|im_start|>", "<|im_end|>", [])
    found = {}
    for name, rows in (("small", 15_000), ("large", 150_000)):
        data = tmp_path / name
        size = child(WRITE, data, rows, 120)
        found[name] = child(TOKENIZE, tmp_path / "base", data, tmp_path / f"{name}-tokens")
        found[name]["bytes"] = size
    small, large = found["small"], found["large"]
    assert large["bytes"] > 250_000_000
    assert large["tokens"] > 9 * small["tokens"]
    assert large["kb"] < 1_500_000
    assert large["kb"] - small["kb"] < 150_000, found
