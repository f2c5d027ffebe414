"""The section of the identity-swap test, where the recipe asks for it."""

from typing import Any

from components.report.line import TORCH, Page


def bias(page: Page) -> dict[str, Any] | None:
    """Return every model's largest gap and share of changed answers by axis."""
    line = page.line
    found = dict(line.evaluation.facts.get("bias", {}).get("models", {}))
    for name in line.exported:
        if "bias" in line.verification.facts["variants"][name]:
            found[name] = line.verification.facts["variants"][name]["bias"]
    if not found:
        return None
    shown = {name: found[name] for name in (*TORCH, line.ship) if name in found}
    axes = list(next(iter(shown.values()))["axes"])
    rows = [
        {
            "axis": axis,
            "model": name,
            "shipped": name == line.ship,
            **one["axes"][axis],
            "gap": one["axes"][axis]["gaps"][0],
        }
        for axis in axes
        for name, one in shown.items()
    ]
    measure = next(iter(shown.values()))["measure"]
    return {"models": shown, "rows": rows, "measure": measure}
