"""The champion on held-out rows of now: known and fresh apart, each as it scores them alone."""

import shutil
from pathlib import Path

import pytest

from components.contracts.errors import ModelError
from components.contracts.events import Context
from components.contracts.kinds import BaseModelFolder, Champion, Dataset, Onnx, Tokens
from components.runtime.ort import OrtLM
from components.scoring.metrics import summarise
from components.scoring.score import score_items
from components.scoring.tables import read_items
from components.verification.rescore import rescore

KNOWN = frozenset(f"test-{index}" for index in range(10))


@pytest.fixture
def champion(tiny_onnx: Onnx, tiny_base: BaseModelFolder, tmp_path: Path) -> Champion:
    with Champion.write(tmp_path / "champion") as draft:
        shutil.copytree(tiny_onnx.variant("int8"), draft.folder / "model")
        # The random model's own file is written in another order by the export.
        shutil.copy(tiny_base.model / "tokenizer.json", draft.folder / "model")
        draft.facts = {"there": True, "device": "cpu"}
    return Champion.open(tmp_path / "champion")


def test_both_parts_have_the_figures_that_they_have_alone(
    champion: Champion,
    tiny_base: BaseModelFolder,
    tiny_dataset: Dataset,
    tiny_tokens: Tokens,
    context: Context,
) -> None:
    found = rescore(champion, tiny_base, tiny_dataset, tiny_tokens, KNOWN, context)

    items = read_items(tiny_tokens, "test", None)
    lm = OrtLM(champion.model, threads=1)
    for part, wanted in (("known", True), ("fresh", False)):
        chosen = [item for item in items if (item.id in KNOWN) is wanted]
        alone = summarise(score_items(lm, chosen, prefix_token=2))
        assert found[part]["items"] == len(chosen)
        assert found[part]["accuracy"] == alone["accuracy"]
        assert found[part]["bits_per_byte"] == pytest.approx(alone["bits_per_byte"], rel=1e-5)
    assert (found["known"]["items"], found["fresh"]["items"]) == (10, 14)


def test_a_kind_that_cannot_be_asked_is_told(
    champion: Champion,
    tiny_base: BaseModelFolder,
    tiny_dataset: Dataset,
    tiny_tokens: Tokens,
    context: Context,
) -> None:
    other = BaseModelFolder(
        tiny_base.path, {**tiny_base.facts, "task_type": "OTHER"}, tiny_base.files
    )
    with pytest.raises(ModelError, match="of kind OTHER cannot be scored"):
        rescore(champion, other, tiny_dataset, tiny_tokens, KNOWN, context)
