"""Learning from a teacher's logits beside the labels (Hinton et al. 2015, arXiv:1503.02531).

loss = (1 − α)·NLL + α·T²·KL(p_teacher ‖ p_student), both distributions softened by the temperature
T, at the trained positions only; T² keeps the two gradients of one size whatever T is.

With `top_k` the teacher's k likeliest tokens are kept apart and all others are one token with the
sum of their probability: a coarser distribution, but still one, and the loss is 0 only where the
student agrees. It is computed once, so the teacher is not in memory while the student is trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from components.model.full import bare
from components.training.collate import Inputs
from components.training.logits import trained_logits
from components.training.objective_settings import DistillationSettings
from components.training.rows import Row

if TYPE_CHECKING:
    from components.training.loop import Collate, Loss

FLOOR = -60.0
"""Log-probabilities are not told apart below this: e⁻⁶⁰ times anything is nothing."""


@dataclass(frozen=True)
class TaughtRow(Row):
    """A row and what the teacher says at its trained positions.

    `ids` [trained, k] are the teacher's likeliest tokens, `logprobs` [trained, k + 1] theirs and
    that of all the others together.
    """

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]


@dataclass(frozen=True)
class TaughtInputs(Inputs):
    """A batch with the teacher's tokens [trained, k] and log-probabilities [trained, k + 1]."""

    ids: torch.Tensor
    logprobs: torch.Tensor


@dataclass(eq=False)
class TaughtRows(Sequence[TaughtRow]):
    """Rows with what the teacher said of them, end to end in the order of `rows`.

    `starts` [rows + 1] says where each begins; a row that is not in the plan has none.
    """

    rows: Sequence[Row]
    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> TaughtRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[TaughtRow]: ...

    def __getitem__(self, index: int | slice) -> TaughtRow | list[TaughtRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row, said = self.rows[index], slice(self.starts[index], self.starts[index + 1])
        return TaughtRow(row.input_ids, row.labels, self.ids[said], self.logprobs[said])

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [len(row.input_ids) for row in self.rows]


def collate_taught(rows: Sequence[TaughtRow], collate: "Collate") -> TaughtInputs:
    """Lay rows out as `collate` does, with what the teacher said in the same order."""
    inputs = collate(rows)
    device = inputs.labels.device
    ids = torch.from_numpy(np.concatenate([row.ids for row in rows])).long()
    logprobs = torch.from_numpy(np.concatenate([row.logprobs for row in rows]))
    return TaughtInputs(
        inputs.arguments, inputs.labels, inputs.tokens, ids.to(device), logprobs.to(device)
    )


def gathered(logits: torch.Tensor, ids: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return log-probabilities [n, k + 1] of `ids` [n, k], then of all other tokens together."""
    soft = logits / temperature
    whole = soft.logsumexp(dim=-1, keepdim=True)
    others = soft.scatter(1, ids, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return torch.cat([soft.gather(1, ids), others], dim=-1) - whole


def divergence(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Return KL(teacher ‖ student) in nats, summed over positions, of log-probabilities [n, …]."""
    teacher, student = teacher.clamp_min(FLOOR), student.clamp_min(FLOOR)
    return (teacher.exp() * (teacher - student)).sum()


@dataclass
class TaughtLoss:
    """The mixed loss of a batch; out of training the loss of the labels alone, to be compared.

    `plain` is the loss that would be taken without a teacher. `teacher` is the model itself where
    nothing was computed before.
    """

    settings: DistillationSettings
    plain: "Loss"
    fast: bool
    teacher: Any = None
    seen: list[torch.Tensor] = field(default_factory=list)

    def __call__(self, adapted: Any, inputs: Inputs) -> torch.Tensor:
        if not adapted.training:
            return self.plain(adapted, inputs)
        logits, targets = trained_logits(bare(adapted), inputs, fast=self.fast)
        labels = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        apart = self.apart(logits, inputs)
        count = torch.tensor(float(len(targets)), device=logits.device)
        self.seen.append(torch.stack([labels.detach(), apart.detach(), count]))
        share, temperature = self.settings.alpha, self.settings.temperature
        return (1 - share) * labels + share * temperature**2 * apart

    def apart(self, logits: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """Return how far the student is from the teacher, summed over positions, in nats."""
        temperature = self.settings.temperature
        if isinstance(inputs, TaughtInputs):
            return divergence(inputs.logprobs, gathered(logits, inputs.ids, temperature))
        with torch.no_grad():
            said, _ = trained_logits(self.teacher, inputs, fast=self.fast)
        soft = (said / temperature).log_softmax(-1)
        return divergence(soft, (logits / temperature).log_softmax(-1))

    def measured(self) -> dict[str, float]:
        """Return both parts of the loss since the last call, in nats a trained token."""
        if not self.seen:
            return {}
        labels, apart, count = torch.stack(self.seen).sum(dim=0).tolist()
        self.seen.clear()
        return {"label_loss": labels / count, "teacher_divergence": apart / count}
