"""Losses over pairs of answers, summed over the pairs, so that any split of a batch adds up.

All take the log-probabilities of both answers under the model and under the reference, the model
before training. Names and conventions are TRL's: `ipo` and `sigmoid_norm` take means over an
answer's tokens, all others sums.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import cross_entropy, logsigmoid

from components.training.collate import Inputs
from components.training.logits import trained_logits
from components.training.objective_settings import ObjectiveSettings


@dataclass(frozen=True)
class PairInputs(Inputs):
    """Pairs as rows: chosen, rejected, chosen, rejected …

    `counts` are the tokens of each answer [rows]; `reference` [rows] its log-probability in nats
    under the model before training (empty while these are computed).
    """

    counts: list[int]
    reference: torch.Tensor


@dataclass(frozen=True)
class Ratios:
    """log π(y|x) − log π_ref(y|x) of both answers [pairs], in nats, and their tokens [pairs]."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    chosen_tokens: torch.Tensor
    rejected_tokens: torch.Tensor

    @property
    def lead(self) -> torch.Tensor:
        """How much more the chosen answer has gained."""
        return self.chosen - self.rejected

    @property
    def lead_by_token(self) -> torch.Tensor:
        """The same of means over tokens."""
        return self.chosen / self.chosen_tokens - self.rejected / self.rejected_tokens


def sigmoid(ratios: Ratios, settings: ObjectiveSettings) -> torch.Tensor:
    """DPO: −log σ(β·lead) (Rafailov et al. 2023, arXiv:2305.18290, eq. 7)."""
    return -logsigmoid(settings.beta * ratios.lead)


def sigmoid_norm(ratios: Ratios, settings: ObjectiveSettings) -> torch.Tensor:
    """DPO over means of the answers' tokens: length gives no answer an advantage."""
    return -logsigmoid(settings.beta * ratios.lead_by_token)


def hinge(ratios: Ratios, settings: ObjectiveSettings) -> torch.Tensor:
    """The hinge on the lead, max(0, 1 − β·lead) (Zhao et al. 2023, arXiv:2305.10425)."""
    return torch.relu(1 - settings.beta * ratios.lead)


def ipo(ratios: Ratios, settings: ObjectiveSettings) -> torch.Tensor:
    """IPO: (lead − 1/(2β))², the lead by token (Azar et al. 2023, arXiv:2310.12036, eq. 17)."""
    return (ratios.lead_by_token - 1 / (2 * settings.beta)) ** 2


def robust(ratios: Ratios, settings: ObjectiveSettings) -> torch.Tensor:
    """DPO unbiased by a share ε of swapped pairs (Chowdhury et al. 2024, arXiv:2403.00409)."""
    flipped, lead = settings.label_smoothing, settings.beta * ratios.lead
    right, wrong = -logsigmoid(lead), -logsigmoid(-lead)
    return ((1 - flipped) * right - flipped * wrong) / (1 - 2 * flipped)


LOSSES: dict[str, Callable[[Ratios, ObjectiveSettings], torch.Tensor]] = {
    "sigmoid": sigmoid,
    "hinge": hinge,
    "ipo": ipo,
    "robust": robust,
    "sigmoid_norm": sigmoid_norm,
}


@dataclass
class PairLoss:
    """The loss of pairs, which keeps what it sees of their rewards until it is asked."""

    settings: ObjectiveSettings
    fast: bool
    seen: list[torch.Tensor] = field(default_factory=list)

    def __call__(self, model: Any, inputs: PairInputs) -> torch.Tensor:
        """Return the summed loss of a batch of pairs."""
        ratios = self.ratios(model, inputs)
        rewards = torch.stack([ratios.chosen, ratios.rejected]).detach()
        self.seen.append(self.settings.beta * rewards)
        return LOSSES[self.settings.loss_type](ratios, self.settings).sum()

    def ratios(self, model: Any, inputs: PairInputs) -> Ratios:
        """Return how far each answer is from the reference."""
        gained = answer_logprobs(model, inputs, fast=self.fast) - inputs.reference
        counts = torch.tensor(inputs.counts, device=gained.device)
        return Ratios(gained[0::2], gained[1::2], counts[0::2], counts[1::2])

    def measured(self) -> dict[str, float]:
        """Return the rewards since the last call, under TRL's names; nothing if there were none.

        `rewards/accuracies` is the share of pairs whose chosen answer has the higher reward.
        """
        if not self.seen:
            return {}
        chosen, rejected = torch.cat(self.seen, dim=1).cpu()
        self.seen.clear()
        return {
            "rewards/chosen": float(chosen.mean()),
            "rewards/rejected": float(rejected.mean()),
            "rewards/accuracies": float((chosen > rejected).float().mean()),
            "rewards/margins": float((chosen - rejected).mean()),
        }


def answer_logprobs(model: Any, inputs: PairInputs, *, fast: bool) -> torch.Tensor:
    """Return the summed log-probability in nats of each row's answer [rows], in fp32."""
    logits, targets = trained_logits(model, inputs, fast=fast)
    tokens = -cross_entropy(logits, targets, reduction="none")
    # Sums of parts, not an index_add: the same bits every time on every device.
    return torch.stack([part.sum() for part in tokens.split(inputs.counts)])
