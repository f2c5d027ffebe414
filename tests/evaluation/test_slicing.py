"""How items are parted, and the figures by slice of a real evaluation."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from components.contracts.errors import RecipeError
from components.contracts.events import Context
from components.contracts.kinds import Adapter, BaseModelFolder, Dataset, Raw, Tokens
from components.evaluation.evaluate import evaluate
from components.evaluation.settings import EvaluationSettings, SliceSettings
from components.evaluation.slicing import by_values, slicings
from components.scoring.metrics import summarise
from components.scoring.tables import read_items, read_scores


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Raw:
    """Raw rows of the made-up dataset, with columns that it does not keep."""
    folder = tmp_path_factory.mktemp("raw") / "raw"
    with Raw.write(folder) as draft:
        rows = [
            {"source": "made up", "row": n, "fields": {"city": "ABC"[n % 3], "age": n}}
            for n in range(40)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (draft.folder / "rows.jsonl").write_text(text, encoding="utf-8")
    return Raw.open(folder)


def parted(dataset: Dataset, tokens: Tokens, raw: Raw | None, **values: Any) -> dict[str, Any]:
    items = read_items(tokens, "test", None)
    settings = SliceSettings(**values)
    return {one.name: one for one in slicings(items, dataset, raw, "test", settings)}


def test_items_are_parted_by_length_label_drift_and_column(
    dataset: Dataset, tokens: Tokens, raw: Raw
) -> None:
    found = parted(dataset, tokens, raw, bins=3, columns=("city", "age"), max_groups=5)
    assert list(found) == ["length", "label", "text drift", "column city", "column age"]
    items = read_items(tokens, "test", None)
    for one in found.values():
        assert len(one.of) == len(items)
        assert set(one.of) <= {*one.groups, None}
    lengths = {group: [] for group in found["length"].groups}  # type: ignore[var-annotated]
    for item, group in zip(items, found["length"].of, strict=True):
        lengths[group].append(len(item.prompt))
    bounds = [(min(sizes), max(sizes)) for sizes in lengths.values()]
    assert bounds == sorted(bounds)
    assert all(a[1] < b[0] for a, b in pairwise(bounds))
    assert found["label"].groups == ("good", "fair", "poor")
    assert found["column city"].of == tuple("ABC"[n % 3] for n in range(24))
    assert len(found["column age"].groups) == 3


def test_an_unknown_column_is_told_with_those_there_are(
    dataset: Dataset, tokens: Tokens, raw: Raw
) -> None:
    with pytest.raises(RecipeError, match="no column 'cty'; did you mean 'city'") as caught:
        parted(dataset, tokens, raw, columns=("cty",))
    assert "age, city" in str(caught.value)


def test_rare_values_go_together() -> None:
    values = [*"aaaabbbccd", None, ""]
    found = by_values("column x", values, SliceSettings(max_groups=3))
    assert found.groups == ("a", "b", "(all others)")
    assert found.of == (*"aaaabbb", *["(all others)"] * 3, None, "(all others)")


def test_base_and_tuned_are_told_by_slice(
    tiny_base: BaseModelFolder,
    dataset: Dataset,
    tokens: Tokens,
    tiny_adapter: Adapter,
    raw: Raw,
    context: Context,
    tmp_path: Path,
) -> None:
    settings = EvaluationSettings(slices=SliceSettings(columns=("city",), min_items=5))
    inputs = (tiny_base, dataset, tokens, tiny_adapter, settings)
    out = tmp_path / "evaluation"
    facts = evaluate(*inputs, out=out, context=context, raw=raw).facts["slices"]
    assert list(facts["models"]) == ["base", "tuned"]
    for model, found in facts["models"].items():
        scores = read_scores(out / f"{model}.parquet")
        city = [row for row in found["slices"] if row["slicing"] == "column city"]
        for at, row in enumerate(sorted(city, key=lambda r: r["group"])):
            own = summarise(scores[at::3])
            assert {key: row[key] for key in own} == own
        assert found["worst"]["items"] >= 5
    assert "against" not in facts["models"]["base"]["slices"][0]
    assert "against" in facts["models"]["tuned"]["slices"][0]
