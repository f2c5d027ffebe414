from components.quantization.placement import bits_of, is_mixed

PRODUCTS = {
    f"layer{at}-{name}": tuple(f"model.layers.{at}.{part}" for part in parts)
    for at in range(16)
    for name, parts in {
        "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "o": ("self_attn.o_proj",),
        "up": ("mlp.up_proj",),
        "down": ("mlp.down_proj",),
    }.items()
} | {"head": ("lm_head",)}


def raised(groups: dict[str, int]) -> set[str]:
    found = bits_of(PRODUCTS, 4, groups, "lm_head")
    assert set(found) == set(PRODUCTS)
    return {name for name, bits in found.items() if bits == 8}


def test_nothing_is_raised_unless_asked_for() -> None:
    assert raised({}) == set()
    assert raised({"last_matmul": 8}) == {"head"}


def test_groups_are_parts_of_layers() -> None:
    assert raised({"down_proj": 8}) == {f"layer{at}-down" for at in range(16)}
    assert raised({"qkv_proj": 8}) == {f"layer{at}-qkv" for at in range(16)}
    edges = {f"layer{at}-{part}" for at in (0, 15) for part in ("qkv", "o", "up", "down")}
    assert raised({"edge_layers": 8}) == edges


def test_mixed_layers_are_those_of_the_builder() -> None:
    layers = [at for at in range(16) if is_mixed(at, 16)]
    assert layers == [0, 1, 4, 7, 10, 13, 14, 15]
    assert raised({"mixed_layers": 8}) == {
        f"layer{at}-{p}" for at in layers for p in ("qkv", "down")
    }


def test_the_most_bits_win() -> None:
    assert "layer0-down" in raised({"down_proj": 4, "edge_layers": 8})
