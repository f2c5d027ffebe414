from components.quantization.samples import Samples, common_beginning, sample

ROWS = ((1, 2, 3, 4), (1, 2, 9), (1, 2, 3, 5, 6))


def test_rows_are_padded_on_the_right_and_what_is_skipped_does_not_count() -> None:
    samples = Samples(ROWS, (0, 2, 2))
    assert samples.tokens == 4 + 1 + 3
    ids, counted = samples.padded([0, 1])
    assert ids.tolist() == [[1, 2, 3, 4], [1, 2, 9, 0]]
    assert counted.tolist() == [[True] * 4, [False, False, True, False]]


def test_batches_hold_every_row_once_and_are_bounded() -> None:
    rows = tuple(tuple(range(1, 2 + length)) for length in (5, 1, 9, 2, 30, 7))
    found = list(Samples(rows, (0,) * 6).batches(20))
    assert sorted(place for batch in found for place in batch) == list(range(6))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(len(rows[place]) for place in batch) <= 20


def test_rows_are_drawn_by_seed_and_cut() -> None:
    rows = [[place] * 10 for place in range(50)]
    one, again, other = (sample(rows, 8, 4, seed, 0) for seed in (0, 0, 1))
    assert one == again != other
    assert {len(row) for row in one.rows} == {4}
    assert len({row[0] for row in one.rows}) == 8
    assert one.skipped == (0,) * 8


def test_turns_that_all_rows_share_count_once_and_half_the_rows_come_without_them() -> None:
    rows = [[1, 2, 3, place, 9] for place in range(10, 20)]
    samples = sample(rows, 10, 512, 0, prefix=7)
    assert samples.skipped == (0, 3, 3, 3, 3, 0, 0, 0, 0, 0)
    assert all(row[:3] == (1, 2, 3) for row in samples.rows[:5])
    assert all(row[0] == 7 and row[2] == 9 and len(row) == 3 for row in samples.rows[5:])


def test_a_common_beginning_is_that_of_all_rows() -> None:
    assert common_beginning(ROWS) == 2
    assert common_beginning(ROWS[:1]) == 0
    assert common_beginning([]) == 0
