"""Fully sharded data parallel (FSDP): each process keeps one part of every weight.

A block's weights are brought together just before it runs and let go after it; gradients are
summed and cut up in the backward pass (Zhao et al. 2023, arXiv:2304.11277; torch's `fully_shard`).
So all processes must run the same number of passes: who has no micro-batch left runs one that
counts for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from components.model.base import load_base
from components.model.full import bare
from components.training.collate import Inputs
from components.training.group import Group

if TYPE_CHECKING:
    from components.contracts.kinds import BaseModelFolder
    from components.training.loop import Collate, Loss, Trainer

T = TypeVar("T")


class Whole(torch.nn.Module):
    """A model and its loss as one module: what it runs is brought together by FSDP's hooks."""

    def __init__(self, model: torch.nn.Module, loss: "Loss") -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return the summed loss; zero, with gradients of zero, where no row counts."""
        loss: torch.Tensor = self.loss(self.model, inputs)
        return loss if inputs.tokens else loss * 0


@dataclass(frozen=True)
class Sharded(Group):
    """A group whose processes hold a part of every weight each."""

    roots: list[Any] = field(default_factory=list, compare=False)
    """The sharded `Whole`, once there is one."""

    def share(self, batches: Sequence[T]) -> Sequence[T]:
        """Return the micro-batches of this process, with empty ones up to the number of others."""
        mine = list(batches[self.rank :: self.size])
        rounds = -(-len(batches) // self.size)
        return mine + [cast("T", ())] * (rounds - len(mine))

    def sum_up(self, parameters: Any, loss: torch.Tensor) -> torch.Tensor:
        """Return the sum of `loss`: the gradients were summed in the backward pass."""
        import torch.distributed as dist

        dist.all_reduce(loss)
        return loss

    def exchange(self, *, after: bool) -> None:
        """Exchange gradients in the last backward pass of a step alone."""
        self.roots[0].set_requires_gradient_sync(after)

    def whole(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return `tensors` brought together in main memory; only the first process keeps them."""
        found = {}
        for name, tensor in tensors.items():
            full = in_one_piece(tensor).cpu()
            if self.first:
                found[name] = full
        return found

    def like(self, value: Any, tensor: torch.Tensor) -> Any:
        """Return this process's part of `value`, cut as `tensor` is."""
        if (
            not isinstance(tensor, DTensor)
            or not isinstance(value, torch.Tensor)
            or not value.dim()
        ):
            return value
        return distribute_tensor(value.to(tensor.device), tensor.device_mesh, tensor.placements)

    def take_in(self, trainer: "Trainer", mark: str) -> None:
        """Make `trainer` part of the group and cut its model up."""
        super().take_in(trainer, mark)
        trainer.collate = filled(trainer.collate, trainer)
        root = shard(trainer.model, trainer.loss, self.size)
        self.roots[:] = [root]
        trainer.loss = lambda _, inputs: root(inputs)
        # A step that ran out of memory cannot be taken again by one process: others wait in it.
        trainer.settings = trainer.settings.model_copy(update={"auto_find_batch_size": False})
        trainer.__post_init__()  # other parameters than before, so another optimiser
        trainer.about.append(lambda: {"fsdp": True})

    def finished(self, trainer: "Trainer", base: "BaseModelFolder") -> Any:
        """Return the trained model in one piece, in main memory; others than the first get none."""
        state = self.whole({name: p.detach() for name, p in trainer.trainable.items()})
        if not self.first:
            return None
        cpu = torch.device("cpu")
        model = load_base(base.model, dtype=bare(trainer.model).dtype, device=cpu)
        named = dict(model.named_parameters())
        with torch.no_grad():
            for name, tensor in state.items():
                named[name].copy_(tensor)
        return model


def shard(model: Any, loss: "Loss", size: int) -> Any:
    """Cut up the blocks of `model` one by one, and all else of it; return it with its loss."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(model.device.type, (size,))
    names = set(bare(model)._no_split_modules or ())
    for module in list(model.modules()):
        if type(module).__name__ in names:
            fully_shard(module, mesh=mesh)
    # By default the root keeps its weights after a forward for the backward that follows. After an
    # evaluation none follows: weights put in for it (the mean) would stay for the next step.
    root: Any = fully_shard(Whole(model, loss), mesh=mesh, reshard_after_forward=True)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            # The loss is divided by the tokens of all processes: gradients are summed, not
            # averaged. Gloo knows no sum with a factor.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return root


def in_one_piece(tensor: torch.Tensor) -> torch.Tensor:
    """Return all of a tensor, whoever holds its parts: all processes must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def filled(collate: "Collate", trainer: "Trainer") -> "Collate":
    """Return `collate` that also lays out no rows at all: a row in their place counts nothing."""

    def collated(rows: Any) -> Inputs:
        return collate(rows) if rows else replace(collate([trainer.rows[0]]), tokens=0)

    return collated
