"""A masked-language model in torch behind the interface that scoring asks for."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from components.model.classifier import padding_id
from components.runtime.padding import groups, padded
from components.scoring.masked import Logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH_TOKENS = 1024
"""Tokens of one forward, padding counted: all of them have logits."""


class TorchMasked:
    """See `components.scoring.masked.MaskedLM`."""

    def __init__(self, model: "PreTrainedModel") -> None:
        self.model = model.eval()

    def token_logits(
        self, rows: Sequence[Sequence[int]], places: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, Logits]]:
        """See `components.scoring.masked.MaskedLM`."""
        import torch

        for group in groups(rows, BATCH_TOKENS):
            ids, mask = padded([rows[index] for index in group], padding_id(self.model))
            inputs = {"input_ids": ids, "attention_mask": mask}
            on_device = {k: torch.from_numpy(v).to(self.model.device) for k, v in inputs.items()}
            with torch.no_grad():
                logits = self.model(**on_device).logits
            for at, index in enumerate(group):
                yield index, logits[at, list(places[index])].float().cpu().numpy()
