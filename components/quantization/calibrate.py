"""A walk through a decoder, layer by layer, that shows each product the inputs it will meet.

The inputs of a layer come out of the layers before it as they will be: with rounded weights. So a
layer makes up for what those before it do wrong, as far as it can.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from components.contracts.errors import ModelError
from components.contracts.events import Events
from components.quantization.samples import Samples

if TYPE_CHECKING:
    import torch

    Choose = Callable[[str, torch.nn.Linear, torch.Tensor], torch.Tensor]

Given = tuple[tuple[Any, ...], dict[str, Any]]
"""What a layer gets beside the states: by place, and by name."""

BATCH_TOKENS = 2048
"""Tokens that go through a layer together: bounds the memory of their inner states."""


@dataclass
class Batch:
    """Rows on their way through the layers: `states` [rows, places, width] at the next layer.

    `counted` [rows, places] says which places are looked at; `given` is what else each layer gets.
    """

    states: "torch.Tensor"
    counted: "torch.Tensor"
    given: "list[Given]"

    def through(self, layer: Any, at: int) -> "torch.Tensor":
        """Return the states behind layer number `at`."""
        places, names = self.given[at]
        said = layer(self.states, *places, **names)
        states: torch.Tensor = said[0] if isinstance(said, tuple) else said
        return states


def calibrate(model: Any, samples: Samples, choose: "Choose", events: Events) -> None:
    """Replace the weights of every product in the layers of `model` by what `choose` returns.

    `choose(path, module, moments)` gets the module's path in the model and the sum of x·xᵀ
    [inputs, inputs] over the inputs of that product, and returns a weight of the same shape.
    Raises `ModelError` where the model has no list of layers.
    """
    import torch

    path, layers = layers_of(model)
    with torch.inference_mode():
        batches = begin(model, layers, samples)
        for at, layer in enumerate(layers):
            events.progress("calibrating", at, len(layers))
            for names, moments in moments_of(layer, at, batches):
                for name in names:
                    module: Any = layer.get_submodule(name)
                    new = choose(f"{path}.{at}.{name}", module, moments)
                    module.weight.copy_(new)
            for batch in batches:
                batch.states = batch.through(layer, at)
    events.progress("calibrating", len(layers), len(layers))


def layers_of(model: Any) -> "tuple[str, torch.nn.ModuleList]":
    """Return path and modules of the layers of a decoder."""
    import torch

    count = model.config.get_text_config().num_hidden_layers
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return path, module
    raise ModelError(
        f"{type(model).__name__} has no list of {count} layers: it cannot be calibrated",
        fix="use algo_config rtn",
    )


def begin(model: Any, layers: "torch.nn.ModuleList", samples: Samples) -> list[Batch]:
    """Return the rows as the first layer gets them, and what every layer gets beside them."""
    import torch

    tuples = returns_tuples(model, layers, samples.rows[0])
    batches = []
    for rows in samples.batches(BATCH_TOKENS):
        ids, counted = samples.padded(rows)
        heard: list[tuple[Any, Given]] = []
        with replaced(layers, recorder(heard, tuples)):
            model.base_model(input_ids=torch.from_numpy(ids), use_cache=False)
        states, given = heard[0][0], [given for _, given in heard]
        batches.append(Batch(states, torch.from_numpy(counted), given))
    return batches


def returns_tuples(model: Any, layers: "torch.nn.ModuleList", row: Sequence[int]) -> bool:
    """Return whether the layers return a tuple with the states first, or the states alone."""
    import torch

    seen: list[bool] = []
    hook = layers[0].register_forward_hook(lambda _, __, out: seen.append(isinstance(out, tuple)))
    try:
        model.base_model(input_ids=torch.tensor([list(row[:2])]), use_cache=False)
    finally:
        hook.remove()
    return seen[0]


def recorder(heard: list[tuple[Any, Given]], tuples: bool) -> Callable[..., Any]:
    """Return a layer that writes down what it gets, and passes the states on unchanged."""

    def forward(hidden_states: Any, *places: Any, **names: Any) -> Any:
        heard.append((hidden_states, (places, names)))
        return (hidden_states,) if tuples else hidden_states

    return forward


@contextmanager
def replaced(layers: "torch.nn.ModuleList", forward: Callable[..., Any]) -> Iterator[None]:
    """Let every layer compute what `forward` says, for a while."""
    try:
        for layer in layers:
            layer.forward = forward
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own shows again


def moments_of(
    layer: Any, at: int, batches: Sequence[Batch]
) -> "list[tuple[list[str], torch.Tensor]]":
    """Return for each input of products in a layer their names and its second moments.

    Products of the very same input (query, key and value) stand together.
    """
    found: dict[str, torch.Tensor] = {}
    groups: dict[str, list[str]] = {}
    for batch in batches:
        look = Look(batch.counted, found, groups)
        hooks = [one.register_forward_pre_hook(look.at(name)) for name, one in linears(layer)]
        try:
            batch.through(layer, at)
        finally:
            for hook in hooks:
                hook.remove()
    return [(names, found[first]) for first, names in groups.items()]


@dataclass
class Look:
    """Adds up second moments [inputs, inputs] of what products get in one forward, by name.

    `groups` tells which names get the very same tensor as the first of them.
    """

    counted: "torch.Tensor"
    found: "dict[str, torch.Tensor]"
    groups: dict[str, list[str]]
    _seen: "dict[int, tuple[str, torch.Tensor]]" = field(default_factory=dict)

    def at(self, name: str) -> Callable[..., None]:
        """Return the hook of one product."""

        def hook(_: Any, inputs: "tuple[torch.Tensor, ...]") -> None:
            # The tensor is kept, so that no other one gets its id.
            first, _kept = self._seen.setdefault(id(inputs[0]), (name, inputs[0]))
            group = self.groups.setdefault(first, [])
            if name not in group:
                group.append(name)
            if first == name:
                flat = inputs[0].reshape(-1, inputs[0].shape[-1])
                add_moments(self.found, name, flat[self.counted.reshape(-1)])

        return hook


def add_moments(found: "dict[str, torch.Tensor]", name: str, states: "torch.Tensor") -> None:
    """Add x·xᵀ over `states` [places, inputs] to what was found."""
    import torch

    size = states.shape[1]
    values = states.float()
    found.setdefault(name, torch.zeros(size, size)).addmm_(values.T, values)


def head_moments(model: Any, samples: Samples) -> "torch.Tensor":
    """Return the second moments of the head's inputs, the layers being as they are now."""
    import torch

    found: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        for rows in samples.batches(BATCH_TOKENS):
            ids, counted = samples.padded(rows)
            said = model.base_model(input_ids=torch.from_numpy(ids), use_cache=False)
            add_moments(found, "head", said.last_hidden_state[torch.from_numpy(counted)])
    return found["head"]


def linears(layer: Any) -> "list[tuple[str, torch.nn.Linear]]":
    """Return the products with weights of a layer, by name."""
    import torch

    return [(n, one) for n, one in layer.named_modules() if isinstance(one, torch.nn.Linear)]
