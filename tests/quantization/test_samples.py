import numpy as np

from components.quantization.samples import Samples, choose_rows, common_beginning

ROWS = ((1, 2, 3, 4), (1, 2, 9), (1, 2, 3, 5, 6))


def test_what_all_rows_begin_with_counts_once() -> None:
    assert common_beginning(ROWS) == 2
    assert common_beginning(ROWS[:1]) == 0
    samples = Samples(ROWS, 2)
    assert samples.tokens == 4 + 1 + 3
    counted = [samples.padded([place])[1].sum() for place in range(3)]
    assert counted == [4, 1, 3]


def test_rows_are_padded_on_the_right_and_padding_does_not_count() -> None:
    ids, counted = Samples(ROWS).padded([0, 1])
    assert ids.tolist() == [[1, 2, 3, 4], [1, 2, 9, 0]]
    assert counted.tolist() == [[True] * 4, [True, True, True, False]]


def test_batches_hold_every_row_once_and_are_bounded() -> None:
    rows = tuple(tuple(range(1, 2 + length)) for length in (5, 1, 9, 2, 30, 7))
    found = list(Samples(rows).batches(20))
    assert sorted(place for batch in found for place in batch) == list(range(6))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(len(rows[place]) for place in batch) <= 20


def test_rows_are_drawn_by_seed_and_cut() -> None:
    rows = [[place] * 10 for place in range(50)]
    one, again, other = (choose_rows(rows, 8, 4, seed) for seed in (0, 0, 1))
    assert one == again != other
    assert {len(row) for row in one} == {4}
    assert len({row[0] for row in one}) == 8
    assert np.array(one).shape == (8, 4)
