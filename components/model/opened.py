"""Base and tuned model in torch behind the interface that scoring asks for, whatever their kind."""

from typing import TYPE_CHECKING

from components.contracts.kinds import Adapter, BaseModelFolder
from components.contracts.task_types import SEQ_2_SEQ_LM, task_type_of

if TYPE_CHECKING:
    import torch

    from components.model.torch_lm import TorchLM
    from components.model.torch_seq2seq import TorchSeq2Seq


def open_base(base: BaseModelFolder, device: "torch.device") -> "TorchLM | TorchSeq2Seq":
    """Load a base model that answers with text, in fp32."""
    import torch

    if task_type_of(base) == SEQ_2_SEQ_LM:
        from components.model.seq2seq import load_seq2seq
        from components.model.torch_seq2seq import TorchSeq2Seq

        return TorchSeq2Seq(load_seq2seq(base.model, device=device))
    from components.model.base import load_base
    from components.model.torch_lm import TorchLM

    return TorchLM(load_base(base.model, dtype=torch.float32, device=device))


def open_tuned(
    base: BaseModelFolder, adapter: Adapter, device: "torch.device"
) -> "TorchLM | TorchSeq2Seq":
    """Load the tuned model, its adapter merged into the base, in fp32."""
    if task_type_of(base) == SEQ_2_SEQ_LM:
        from components.model.seq2seq import load_merged_seq2seq
        from components.model.torch_seq2seq import TorchSeq2Seq

        model, _ = load_merged_seq2seq(base.model, adapter.model)
        return TorchSeq2Seq(model.to(device))
    from components.model.merge import load_merged
    from components.model.torch_lm import TorchLM

    return TorchLM(load_merged(base.model, adapter.model)[0].to(device))
