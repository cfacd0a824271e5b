"""The triplet loss against a loop over all pairs and their negatives."""

import numpy as np
import pytest
from keras import ops

from visiontasks.losses.triplets import semi_hard

RNG = np.random.default_rng(0)


def slow(labels, embeddings, margin):
    """(the sum over pairs, how many pairs have a negative, how many a semi-hard one)."""
    total, count, outside = 0.0, 0, 0
    for a, anchor in enumerate(embeddings):
        for p, positive in enumerate(embeddings):
            if a == p or labels[a] != labels[p] or labels[a] < 0:
                continue
            near = np.sum((anchor - positive) ** 2)
            far = [
                np.sum((anchor - other) ** 2)
                for other, label in zip(embeddings, labels, strict=True)
                if label not in (labels[a], -1)
            ]
            if not far:
                continue
            farther = [distance for distance in far if distance > near]
            total += max(0.0, near - (min(farther) if farther else max(far)) + margin)
            count, outside = count + 1, outside + bool(farther)
    return total, count, outside


@pytest.mark.parametrize("margin", [0.2, 0.9])
def test_it_is_a_loop_over_pairs_with_their_semi_hard_negatives(margin):
    labels = np.array([0, 2, 2, -1, 0, 3, 2, 0, -1, 1, 1])
    embeddings = RNG.normal(size=(11, 3))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    total, count, outside = slow(labels, embeddings, margin)
    found = semi_hard(labels, ops.convert_to_tensor(embeddings, "float32"), labels >= 0, margin)
    assert float(found.total) == pytest.approx(total, rel=1e-5) and float(found.count) == count == 14
    assert 0 < outside < count and total > 0  # both kinds of negatives occur


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 1, 2], [-1, -1, 2]])
@pytest.mark.other_values
def test_without_a_pair_that_has_a_negative_nothing_counts(labels):
    labels = np.array(labels)
    found = semi_hard(labels, ops.convert_to_tensor(np.eye(3), "float32"), labels >= 0)
    assert float(found.total) == float(found.count) == 0
