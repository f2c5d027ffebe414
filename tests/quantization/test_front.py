from components.quantization.front import Change, Measured, choose, front, search

FIGURES = {  # name: bytes, loss, tokens a second
    "tiny": (50, 0.30, 90.0),
    "small": (70, 0.012, 80.0),
    "middle": (90, 0.008, 60.0),
    "fast": (110, 0.004, 100.0),
    "idle": (120, 0.009, 50.0),
}
MARGINS = {"accuracy": 0.01}


def made(name: str, items: int = 200, spread: float = 0.005) -> Measured:
    size, loss, speed = FIGURES[name]
    change = Change(loss, (loss - spread, loss + spread))
    return Measured(name, items, size, 4.0, {"accuracy": change}, speed, speed)


def asked() -> tuple[list[tuple[str, float]], object]:
    calls: list[tuple[str, float]] = []

    def measure(name: str, share: float) -> Measured:
        calls.append((name, share))
        return made(name, int(200 * share))

    return calls, measure


def test_the_smallest_within_the_margin_is_chosen_and_the_search_ends_there() -> None:
    calls, measure = asked()
    tried = search(list(FIGURES), measure, MARGINS, "size")  # type: ignore[arg-type]
    assert [one.measured.name for one in tried if one.chosen] == ["middle"]
    assert [name for name, share in calls if share == 1] == ["small", "middle"]
    assert [one.measured.name for one in tried if one.screened] == ["tiny"]
    assert "fast" not in {name for name, _ in calls}


def test_for_speed_all_are_tried_and_the_fastest_within_wins() -> None:
    _, measure = asked()
    tried = search(list(FIGURES), measure, MARGINS, "speed")  # type: ignore[arg-type]
    assert [one.measured.name for one in tried if one.chosen] == ["fast"]
    assert len(tried) == len(FIGURES)


def test_nothing_within_the_margin_is_a_result() -> None:
    _, measure = asked()
    tried = search(list(FIGURES), measure, {"accuracy": 0.0001}, "size")  # type: ignore[arg-type]
    assert not any(one.chosen for one in tried)


def test_a_loss_that_part_of_the_items_cannot_tell_is_not_screened_away() -> None:
    measured = made("small", spread=0.05)
    assert not measured.surely_beyond(MARGINS)
    assert made("tiny").surely_beyond(MARGINS)


def test_only_what_is_beaten_nowhere_is_on_the_front() -> None:
    assert front(map(made, FIGURES)) == {"tiny", "small", "middle", "fast"}
    assert choose([], "size") is None
