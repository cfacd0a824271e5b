"""A balanced choice, against sorting by hand."""

import numpy as np
from keras import ops

from visiontasks.ops import sampling


def test_smallest_keys_are_chosen_and_negatives_fill_up():
    rng = np.random.default_rng(0)
    positive = np.stack([rng.random(40) < share for share in (0.0, 0.05, 0.7)])
    negative = ~positive & (rng.random((3, 40)) < 0.9)
    keys = rng.random((3, 40)).astype("float32")
    chosen = [ops.convert_to_numpy(x) for x in sampling.balanced(positive, negative, keys, 16, 0.25)]
    for row in range(3):
        ours = sorted(np.flatnonzero(positive[row]), key=lambda i: keys[row, i])[:4]
        rest = sorted(np.flatnonzero(negative[row]), key=lambda i: keys[row, i])[: 16 - len(ours)]
        np.testing.assert_array_equal(np.flatnonzero(chosen[0][row]), sorted(ours))
        np.testing.assert_array_equal(np.flatnonzero(chosen[1][row]), sorted(rest))
    assert chosen[0].sum(1).max() == 4 and chosen[1].sum(1).max() == 16
