"""Exported masked-language models, asked for the tokens that torch has told."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.contracts.events import Events
from components.contracts.kinds import Adapter, BaseModelFolder, Tokens
from components.model.hidden import hidden_in
from components.runtime.ort_masked import OrtMasked
from components.runtime.session import Device
from components.scoring.items import Item, Score
from components.scoring.labels import Logits
from components.scoring.masked import MaskedLM, score_hidden
from components.verification.parity import check_finite


class HiddenTokens:
    """See `components.verification.classifier.Ways`: the logits of the hidden tokens."""

    compared = "hidden tokens"

    def merged(self, base: BaseModelFolder, adapter: Adapter) -> MaskedLM:
        import torch

        from components.model.device import keep_few_kernels, pick_device
        from components.model.masked import load_merged_masked
        from components.model.torch_masked import TorchMasked

        keep_few_kernels()
        torch.set_float32_matmul_precision("highest")
        model, _ = load_merged_masked(base.model, adapter.model)
        return TorchMasked(model.to(pick_device()))

    def open(self, folder: Path, device: Device) -> OrtMasked:
        return OrtMasked(folder, device=device)

    def logits(self, model: MaskedLM, items: Sequence[Item], tokens: Tokens) -> Logits:
        hidden = [one for one in hidden_in(items, tokens.facts) if one is not None][:COMPARED]
        rows, places = [one.ids for one in hidden], [one.places for one in hidden]
        found = dict(model.token_logits(rows, places))
        return check_finite(np.concatenate([found[index] for index in range(len(rows))]))

    def score(
        self, model: MaskedLM, items: Sequence[Item], tokens: Tokens, events: Events, label: str
    ) -> list[Score]:
        hidden = hidden_in(items, tokens.facts)
        return score_hidden(model, items, hidden, events=events, label=label)

    def read(self, model: MaskedLM, ids: Sequence[int]) -> None:
        list(model.token_logits([ids], [[0]]))

    def stranger(self, champion: Path, challenger: Path, device: Device) -> str | None:
        del champion, challenger, device
        return None


COMPARED = 200
"""Texts whose logits are compared: all of them would be hidden tokens times the vocabulary."""
