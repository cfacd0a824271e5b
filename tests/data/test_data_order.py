"""Which samples make which batch, and of what size."""

import collections

import numpy as np

from visiontasks.data.order import Order

SIZES = ((64, 80), (96, 112), (128, 144))


def test_every_size_comes_once_in_as_many_batches():
    order = Order(50, 4, 12, 7, SIZES)
    sizes = [order(number).size for number in range(36)]
    for start in range(0, 36, 3):
        assert set(sizes[start : start + 3]) == set(SIZES)
    assert len({tuple(sizes[start : start + 12]) for start in (0, 12, 24)}) == 3
    assert collections.Counter(sizes) == dict.fromkeys(SIZES, 12)


def test_sizes_change_nothing_of_the_samples_and_any_batch_can_be_asked_for():
    one, many = Order(50, 4, 12, 7, SIZES[:1]), Order(50, 4, 12, 7, SIZES)
    forward = [many(number) for number in range(36)]
    for number in reversed(range(36)):
        np.testing.assert_array_equal(one(number).indices, many(number).indices)
        assert many(number).size == forward[number].size and many(number).epoch == number // 12
        assert one(number).size == SIZES[0]
    assert [Order(50, 4, 12, 8, SIZES)(n).size for n in range(36)] != [draw.size for draw in forward]


def test_turns_are_every_so_many_batches_and_the_last_one_where_none_is_left():
    order, (first, second) = (
        Order(18, 4, 5, None, SIZES[:1]),
        (Order(18, 4, 5, None, SIZES[:1], (i, 2)) for i in (0, 1)),
    )
    for epoch in (0, 1):
        for turn, (mine, yours) in enumerate(((0, 1), (2, 3), (4, 4))):
            for one, step in ((first, mine), (second, yours)):
                draw, expected = one(3 * epoch + turn), order(5 * epoch + step)
                assert draw.indices.tolist() == expected.indices.tolist() and draw.epoch == epoch
