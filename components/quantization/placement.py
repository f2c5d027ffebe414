"""How many bits each product gets: groups of products that keep more than the others."""

import re
from collections.abc import Mapping, Sequence

LAYER = re.compile(r"\.(\d+)\.")

PARTS: dict[str, tuple[str, ...]] = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj", "qkv_proj", "query_key_value", "c_attn"),
    "o_proj": ("o_proj", "out_proj", "dense"),
    "down_proj": ("down_proj", "fc2", "dense_4h_to_h"),
}
"""Groups by the last part of a module's path."""


def bits_of(
    products: Mapping[str, Sequence[str]], bits: int, raised: Mapping[str, int], head: str
) -> dict[str, int]:
    """Return the bits of every product, by name.

    `products` holds the paths of the modules that are in each; `raised` the bits of groups. Where
    groups overlap, the most bits win. `head` is the path of the head.
    """
    layers = {
        name: int(found[1])
        for name, paths in products.items()
        if (found := LAYER.search(f".{paths[0]}."))
    }
    count = max(layers.values(), default=-1) + 1
    found_bits = {}
    for name, paths in products.items():
        layer = layers.get(name) if head not in paths else None
        groups = groups_of(paths, layer, count)
        found_bits[name] = max((raised[group] for group in groups if group in raised), default=bits)
    return found_bits


def groups_of(paths: Sequence[str], layer: int | None, count: int) -> set[str]:
    """Return the groups of a product, by the modules in it and its layer out of `count`.

    `mixed_layers` are those of llama.cpp and onnxruntime-genai: value and down projections of the
    first and last eighth of the layers and of every third between. `edge_layers` are the first and
    the last layer with all their products.
    """
    if layer is None:
        return {"last_matmul"}
    last = {path.rpartition(".")[2] for path in paths}
    groups = {group for group, names in PARTS.items() if last & set(names)}
    if layer in (0, count - 1):
        groups.add("edge_layers")
    mixed = last & {"v_proj", "qkv_proj", "query_key_value", "c_attn", *PARTS["down_proj"]}
    if mixed and is_mixed(layer, count):
        groups.add("mixed_layers")
    return groups


def is_mixed(layer: int, count: int) -> bool:
    """Return whether llama.cpp keeps more bits in parts of this layer."""
    return layer < count / 8 or layer >= 7 * count / 8 or (layer - round(count / 8)) % 3 == 2
