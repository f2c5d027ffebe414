"""A transformers model behind the interface that scoring asks for."""

from typing import TYPE_CHECKING, Any

import numpy as np

from components.scoring.lm import Ids, Logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TorchLM:
    """A causal model in torch. Its cache is a tuple of (key, value) tensors, one pair a layer."""

    def __init__(self, model: "PreTrainedModel") -> None:
        self.model = model.eval()
        # A slice of the hidden states is not contiguous, and torch then multiplies it row by row
        # with a copy of the head's weights each, unless those require a gradient.
        model.get_output_embeddings().register_forward_pre_hook(contiguous)

    def forward(self, ids: Ids, past: Any = None, *, last_only: bool = False) -> tuple[Logits, Any]:
        """See `components.scoring.lm.CausalLM.forward`."""
        import torch
        from transformers import DynamicCache

        with torch.inference_mode():
            output = self.model(
                input_ids=torch.from_numpy(np.ascontiguousarray(ids)).to(self.model.device),
                # A new cache object each time: appending to it leaves the tensors of `past` alone.
                past_key_values=DynamicCache(past) if past else DynamicCache(),
                use_cache=True,
                logits_to_keep=1 if last_only else 0,
            )
        cache = tuple((layer.keys, layer.values) for layer in output.past_key_values.layers)
        return output.logits.float().cpu().numpy(), cache

    def expand(self, past: Any, batch: int) -> Any:
        """See `components.scoring.lm.CausalLM.expand`."""
        return tuple((k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)) for k, v in past)


def contiguous(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of a module with the first one contiguous."""
    return (arguments[0].contiguous(), *arguments[1:])
