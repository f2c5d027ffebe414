"""Take this platform's golden curves anew: `make golden` (or `python tests/golden/renew.py`).

Only after a change that is meant to change losses, or on a platform that has none. Look at the
distances that are printed, and commit the file with the reason.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from golden_curves import CASES, distance, kept, made, name_of, read, run


def main() -> None:
    """Run every case that this machine can run and write the curves down."""
    before = read()
    curves = dict(before)
    with tempfile.TemporaryDirectory() as folder:
        inputs = made(Path(folder))
        for case in CASES:
            name = name_of(case)
            if name is None:
                print(f"{case}: left out, this machine does not multiply bf16")
                continue
            curves[name] = [round(loss, 7) for loss in run(inputs, case, Path(folder) / case)]
            old = before.get(name)
            told = "new" if old is None else f"{distance(old, curves[name]):.1e} from the kept one"
            print(f"{name}: {curves[name][0]:.4f} → {curves[name][-1]:.4f}, {told}")
    kept().parent.mkdir(exist_ok=True)
    lines = (f"  {json.dumps(name)}: {json.dumps(curves[name])}" for name in sorted(curves))
    kept().write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"wrote {kept().name}")


if __name__ == "__main__":
    main()
