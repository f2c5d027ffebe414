"""Outliers moved from activations into weights, where rounding minds them less.

SmoothQuant (Xiao et al. 2022, arXiv:2211.10438): what a norm gives is divided by a factor a
channel, and the inputs of the products that read it are multiplied by it. In real numbers nothing
changes. Factors are powers of two, so that nothing changes in floating point either, and a reader
of the file can tell them from any damage.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.quantization.calibrate import layers_of
from components.quantization.samples import Samples

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 1024
"""Tokens that go through the model together."""

MOST = 5
"""The largest factor is two to this, the smallest two to its negative."""

LARGEST_CHANGE = 1e-3
"""How far the states of the smoothed model may be off, as a share of the largest; they are off by
much more where a norm is read by anything but products."""


@dataclass
class Group:
    """A norm, the products that read what it gives, and the largest inputs seen [channels]."""

    path: str
    norm: Any
    products: list[Any] = field(default_factory=list)
    largest: Any = None


@dataclass(frozen=True)
class Smoothed:
    """The paths of the norms that were smoothed, and what they add to their weights."""

    norms: tuple[str, ...]
    offset: float


def smooth(model: Any, samples: Samples, alpha: float) -> Smoothed:
    """Smooth the inputs of products behind norms in place.

    The factor of a channel is a^alpha / w^(1-alpha) for its largest activation a over `samples` and
    its largest weight w, over their geometric mean, as the nearest power of two. Raises
    `ModelError` where the model has no such norm, or one that something else reads too.
    """
    import torch

    path, layers = layers_of(model)
    with torch.inference_mode():
        groups = groups_of(model, path, layers, samples)
        if not groups:
            raise refused(model, "none of its products reads what a norm with weights gives")
        before, offset = states_of(model, samples.rows[0]), offset_of(groups[0].norm)
        for group in groups:
            rescale(group, factors_of(group, alpha))
        after = states_of(model, samples.rows[0])
    if not bool((after - before).abs().max() <= LARGEST_CHANGE * before.abs().max()):
        raise refused(model, "a norm of it is read by more than products")
    return Smoothed(tuple(group.path for group in groups), offset)


def refused(model: Any, why: str) -> ModelError:
    """Return the error for a model that is not smoothed."""
    return ModelError(
        f"{type(model).__name__} cannot be smoothed: {why}",
        fix="leave `smoothing` out of this variant",
    )


def factors_of(group: Group, alpha: float) -> "torch.Tensor":
    """Return the factor of every channel of a group, a power of two."""
    import torch

    weights = torch.stack([inputs_of(one).abs().amax(dim=0) for one in group.products]).amax(dim=0)
    whole = group.largest.clamp(min=1e-5) ** alpha / weights.clamp(min=1e-5) ** (1 - alpha)
    exponents = whole.log2()
    exponents = (exponents - exponents.mean()).round().clamp(-MOST, MOST)
    # A channel without a weight in the norm has no use for one, and its file could not tell it.
    exponents[gain_of(group.norm) == 0] = 0
    return torch.exp2(exponents)


def rescale(group: Group, factors: "torch.Tensor") -> None:
    """Divide what a norm gives by `factors`, and multiply the inputs of its products by them."""
    offset = offset_of(group.norm)
    group.norm.weight.copy_(gain_of(group.norm) / factors - offset)
    if getattr(group.norm, "bias", None) is not None:
        group.norm.bias.div_(factors)
    for product in group.products:
        inputs_of(product).mul_(factors)


def inputs_of(product: Any) -> "torch.Tensor":
    """Return a view of a product's weight as [outputs, inputs]; GPT-2 keeps it turned round."""
    import torch

    weight: torch.Tensor = product.weight
    return weight if isinstance(product, torch.nn.Linear) else weight.T


def gain_of(norm: Any) -> "torch.Tensor":
    """Return what a norm multiplies with."""
    gain: torch.Tensor = norm.weight + offset_of(norm)
    return gain


def offset_of(norm: Any) -> float:
    """Return what a norm adds to its weight before it multiplies with it: 1 in Gemma's, else 0.

    The norm itself is asked, with a weight of zeros.
    """
    import torch

    kept = norm.weight.clone()
    norm.weight.zero_()
    given = torch.linspace(-1, 1, len(kept))[None]
    bias = getattr(norm, "bias", None)
    said = norm(given) - (0 if bias is None else bias)
    norm.weight.copy_(kept)
    return float(bool(said.abs().max() > 1e-3))


def groups_of(
    model: Any, path: str, layers: "torch.nn.ModuleList", samples: Samples
) -> list[Group]:
    """Return the norms in the layers whose output products read, as `samples` go through them."""
    look = Look({})
    hooks = []
    for name, module in layers.named_modules():
        if is_norm(module):
            hooks.append(module.register_forward_hook(look.at_norm(f"{path}.{name}")))
        elif is_product(module):
            hooks.append(module.register_forward_pre_hook(look.at_product))
    try:
        for places in samples.batches(BATCH_TOKENS):
            look.read(model, samples, places)
    finally:
        for hook in hooks:
            hook.remove()
    return [group for group in look.groups.values() if group.products]


@dataclass
class Look:
    """Watches a forward: which norm gave the tensor that a product gets, and how large it is."""

    groups: dict[str, Group]
    _given: "dict[int, tuple[Group, torch.Tensor]]" = field(default_factory=dict)
    _counted: Any = None

    def read(self, model: Any, samples: Samples, places: Sequence[int]) -> None:
        """Let rows go through the model."""
        import torch

        ids, counted = samples.padded(places)
        self._counted = torch.from_numpy(counted).reshape(-1)
        model.base_model(input_ids=torch.from_numpy(ids), use_cache=False)
        self._given.clear()

    def at_norm(self, path: str) -> Callable[..., None]:
        """Return the hook of one norm."""
        import torch

        def hook(norm: Any, _: Any, said: "torch.Tensor") -> None:
            group = self.groups.setdefault(path, Group(path, norm))
            # The tensor is kept, so that no other one gets its id.
            self._given[id(said)] = (group, said)
            flat = said.reshape(-1, said.shape[-1])
            if len(flat) == len(self._counted):
                largest = flat[self._counted].abs().amax(dim=0)
                seen = group.largest
                group.largest = largest if seen is None else torch.maximum(seen, largest)

        return hook

    def at_product(self, product: Any, inputs: "tuple[torch.Tensor, ...]") -> None:
        """Note a product that reads what a norm gave."""
        group, _ = self._given.get(id(inputs[0]), (None, None))
        if group is not None and all(product is not one for one in group.products):
            group.products.append(product)


def is_norm(module: Any) -> bool:
    """Return whether a module has one weight a channel."""
    weight = getattr(module, "weight", None)
    return weight is not None and weight.ndim == 1


def is_product(module: Any) -> bool:
    """Return whether a module multiplies with a matrix."""
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)


def states_of(model: Any, row: Sequence[int]) -> "torch.Tensor":
    """Return the last states of one row."""
    import torch

    said = model.base_model(input_ids=torch.tensor([list(row)]), use_cache=False)
    states: torch.Tensor = said.last_hidden_state
    return states
