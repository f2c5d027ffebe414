"""The search of a bisect: pure, so that every case can be tried."""

import pytest

from flows.bisect_search import Ends, Span, doubts, most_looks, search


@pytest.mark.parametrize("last", [1, 2, 3, 7, 8, 9, 31, 100])
def test_every_first_bad_point_is_found_in_the_fewest_looks(last: int) -> None:
    for first in range(1, last + 1):
        asked: list[int] = []

        def is_bad(point: int, first: int = first, asked: list[int] = asked) -> bool:
            asked.append(point)
            return point >= first

        found = search(last, is_bad)
        assert found.first_bad == first
        assert found.looks == len(asked) == len(set(asked)) <= most_looks(last)
        assert all(0 < point < last for point in asked), "both ends are known"


def test_the_fewest_looks_are_the_logarithm() -> None:
    assert [most_looks(n) for n in (1, 2, 3, 4, 5, 8, 9, 1000)] == [0, 1, 2, 2, 3, 3, 4, 10]


def test_a_point_that_tells_nothing_is_gone_round() -> None:
    told: dict[int, bool | None] = {n: n >= 6 for n in range(9)} | {4: None}
    found = search(8, told.__getitem__)
    assert found.first_bad == 6
    assert found.skipped == (4,)


def test_where_all_between_tell_nothing_the_suspects_are_named() -> None:
    told: dict[int, bool | None] = {n: n >= 5 for n in range(9)} | {5: None, 6: None}
    found = search(8, told.__getitem__)
    assert found.suspects == (5, 6, 7)
    assert found.first_bad is None


def test_what_is_found_without_order_is_bad_and_follows_a_good_one() -> None:
    bad = {2, 5, 6, 8}
    first = search(8, bad.__contains__).first_bad
    assert first in bad
    assert first is not None
    assert first - 1 not in bad


def test_there_must_be_something_to_search() -> None:
    with pytest.raises(ValueError, match="nothing to search"):
        search(0, bool)


def test_ends_that_are_nearer_than_the_margin_cannot_be_told_apart() -> None:
    assert Ends(0.9, 0.8, 0.05, higher_is_better=True).told_apart
    assert not Ends(0.9, 0.86, 0.05, higher_is_better=True).told_apart
    assert not Ends(0.8, 0.9, 0.05, higher_is_better=True).told_apart, "it got better"
    assert Ends(1.0, 2.0, 0.5, higher_is_better=False).told_apart


@pytest.mark.parametrize(("higher", "sign"), [(True, 1), (False, -1)])
def test_noise_is_told(higher: bool, sign: int) -> None:
    ends = Ends(sign * 1.0, sign * 0.0, 0.1, higher_is_better=higher)
    assert ends.is_bad(sign * 0.4)
    assert not ends.is_bad(sign * 0.6)

    def told(*figures: float, first: int) -> str:
        points = {n: sign * one for n, one in enumerate(figures)}
        return " | ".join(doubts(ends, points, Span((first,), 2), lambda n: f"v{n}"))

    assert told(1.0, 0.95, 0.05, 0.0, first=2) == ""
    assert "v2" in told(1.0, 0.7, 0.4, 0.0, first=2)
    assert "bit by bit" in told(1.0, 0.7, 0.4, 0.0, first=2)
    assert "v1 (" in told(1.0, 1.3, 0.05, 0.0, first=2)
    assert "better than the good end" in told(1.0, 1.3, 0.05, 0.0, first=2)
    assert "worse than the bad end" in told(1.0, 0.95, -0.5, 0.0, first=2)
