"""The processes that train one model together, and what they tell each other.

Each takes its share of the micro-batches of a step and adds up their gradients by itself; then the
gradients of all are summed, once a step however many micro-batches it has. Nothing is exchanged
while a backward pass runs, so a process that runs out of memory takes its micro-batches again in
halves while the others wait, and none of them is left in the middle of an exchange.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from components.contracts.errors import ModelError

if TYPE_CHECKING:
    import torch

    from components.contracts.kinds import BaseModelFolder
    from components.training.loop import Trainer

T = TypeVar("T")
Number = TypeVar("Number", int, float)

BUCKET = 2**26
"""Numbers summed in one exchange: 268 MB in fp32 bound the copy that is made of them."""


@dataclass(frozen=True)
class Group:
    """`size` processes, of which this one is number `rank`. One alone says all to itself."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes, and tells what happens."""
        return self.rank == 0

    def share(self, batches: Sequence[T]) -> Sequence[T]:
        """Return the micro-batches that this process takes: every `size`-th."""
        return batches if self.size == 1 else batches[self.rank :: self.size]

    def gathered(self, value: T) -> list[T]:
        """Return what every process gave, in the order of their numbers."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def from_first(self, compute: Callable[[], T]) -> T:
        """Return what `compute` gives the first process."""
        if self.size == 1:
            return compute()
        import torch.distributed as dist

        box = [compute() if self.first else None]
        dist.broadcast_object_list(box, src=0)
        value: Any = box[0]
        return value  # type: ignore[no-any-return]

    def total(self, value: Number) -> Number:
        """Return the sum over all processes."""
        return value if self.size == 1 else sum(self.gathered(value))

    def least(self, value: int | None) -> int | None:
        """Return the smallest of all processes; `None` is no bound."""
        return min((one for one in self.gathered(value) if one is not None), default=None)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether any process has raised it."""
        return tuple(map(any, zip(*self.gathered(flags), strict=True)))

    def mean(self, values: dict[str, float], weight: float) -> dict[str, float]:
        """Return the means over all processes, each counted by its weight."""
        if self.size == 1:
            return values
        told = [(v, w) for v, w in self.gathered((values, weight)) if v]
        whole = sum(w for _, w in told)
        names = told[0][0] if told else {}
        return {name: sum(v[name] * w for v, w in told) / whole for name in names}

    def wait(self) -> None:
        """Return once all processes have come here."""
        self.gathered(None)

    def sum_up(
        self, parameters: "Iterable[torch.nn.Parameter]", loss: "torch.Tensor"
    ) -> "torch.Tensor":
        """Give each parameter the sum of its gradients over all processes; return that of `loss`.

        The sums are the same bits in every process, so all take the same step and judge it alike.
        """
        if self.size == 1:
            return loss
        import torch
        import torch.distributed as dist

        for bucket in buckets(parameters):
            none = [p.grad if p.grad is not None else torch.zeros_like(p) for p in bucket]
            flat = torch.cat([grad.reshape(-1) for grad in none])
            dist.all_reduce(flat)
            parts = flat.split([p.numel() for p in bucket])
            for parameter, part in zip(bucket, parts, strict=True):
                parameter.grad = part.view_as(parameter)
        loss = loss.to(bucket[0].device)
        dist.all_reduce(loss)
        return loss

    def exchange(self, *, after: bool) -> None:
        """Say whether gradients are exchanged in the next backward pass (see `Sharded`)."""

    def whole(self, tensors: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
        """Return `tensors` in one piece each."""
        return tensors

    def like(self, value: Any, tensor: "torch.Tensor") -> Any:
        """Return `value` laid out as `tensor` is."""
        return value

    def take_in(self, trainer: "Trainer", mark: str) -> None:
        """Make a trainer at step 0 part of the group; `mark` is the fingerprint of its run.

        Dropout is drawn anew in each process.

        Raises:
            ModelError: not all processes were given the same run.
        """
        if self.size == 1:
            return
        import torch
        import torch.distributed as dist

        marks = self.gathered(mark)
        if len(set(marks)) > 1:
            raise ModelError(
                f"the {self.size} processes were not given the same run: base, tokens or settings "
                f"of process {next(i for i, m in enumerate(marks) if m != marks[0])} are others",
                fix="copy data/RECIPE/base, data/RECIPE/tokens and the recipe to every machine",
            )
        for parameter in trainer.trainable.values():
            dist.broadcast(parameter.data, src=0)
        torch.manual_seed(trainer.settings.seed + self.rank)
        trainer.group = self
        trainer.about.append(lambda: {"num_processes": self.size})

    def finished(self, trainer: "Trainer", base: "BaseModelFolder") -> Any:
        """Return the trained model in one piece: all processes must ask, the first one gets it."""
        return trainer.model


def buckets(parameters: "Iterable[torch.nn.Parameter]") -> "Iterator[list[torch.nn.Parameter]]":
    """Yield parameters of one dtype in lists of about `BUCKET` numbers, always in one order."""
    waiting: list[torch.nn.Parameter] = []
    for parameter in parameters:
        other = waiting and waiting[0].dtype != parameter.dtype
        if other or sum(p.numel() for p in waiting) >= BUCKET:
            yield waiting
            waiting = []
        waiting.append(parameter)
    if waiting:
        yield waiting


ALONE = Group()
