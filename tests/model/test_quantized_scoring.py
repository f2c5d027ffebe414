"""A model in 4 or 8 bits through bitsandbytes answers items as any other model does."""

from typing import Any

import pytest
import torch

from components.contracts.kinds import BaseModelFolder, Tokens
from components.model.base import load_base
from components.model.settings import QuantizedLoading
from components.model.torch_lm import TorchLM
from components.scoring.items import Score
from components.scoring.metrics import summarise
from components.scoring.score import score_items
from components.scoring.tables import read_items

CPU = torch.device("cpu")
KINDS: dict[str, tuple[dict[str, Any], float]] = {
    "nf4": ({"load_in_4bit": True}, 0.2),
    "int8": ({"load_in_8bit": True}, 0.05),
}


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_near_those_of_full_precision(
    tiny_base: BaseModelFolder, tiny_tokens: Tokens, kind: str
) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    items = read_items(tiny_tokens, "validation", 8)

    def scored(quantized: QuantizedLoading | None) -> list[Score]:
        model = load_base(tiny_base.model, dtype=torch.float32, device=CPU, quantized=quantized)
        return score_items(TorchLM(model.eval()), items, prefix_token=2)

    how, limit = KINDS[kind]
    plain, rounded = scored(None), scored(QuantizedLoading.model_validate(how))
    assert rounded != plain, "nothing was rounded"
    assert [one.id for one in rounded] == [one.id for one in plain]
    for figure in ("answer_loss", "bits_per_byte"):
        expected = summarise(plain)[figure]
        assert summarise(rounded)[figure] == pytest.approx(expected, rel=limit)
