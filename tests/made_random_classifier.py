"""An adapter with random weights for an encoder with a head, so that merging changes the model."""

from pathlib import Path

from made_encoders import LABELS

from components.contracts.kinds import Adapter, BaseModelFolder
from components.contracts.task_types import SEQ_CLS


def random_classifier(base: BaseModelFolder, out: Path) -> Adapter:
    """Write a random adapter and head for `base`."""
    import torch

    from components.model.adapter import attach_adapter, save_adapter
    from components.model.classifier import load_classifier
    from components.model.settings import LoraSettings

    loaded = load_classifier(base.model, LABELS)
    tuned = attach_adapter(loaded.model, LoraSettings(lora_r=4), SEQ_CLS, loaded.modules_to_save)
    torch.manual_seed(1)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name or (weight.requires_grad and "lora_" not in name):
            torch.nn.init.normal_(weight, std=0.2)
    with Adapter.write(out) as draft:
        save_adapter(tuned, draft.folder / "model", "random")
        draft.facts = {"labels": LABELS}
    return Adapter.open(out)
