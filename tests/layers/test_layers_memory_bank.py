"""PatchCore's memory against slow loops in NumPy."""

import keras
import numpy as np
import pytest

from visiontasks.layers import memory_bank
from visiontasks.layers.memory_bank import MemoryBank

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=(4, 3, 5, 6)).astype("float32")
OTHER = (2 * RNG.normal(size=(3, 3, 5, 6))).astype("float32")


def fitted(batches, count=20, neighbors=4, components=6):
    layer = MemoryBank(count, neighbors, components, seed=0)
    layer.build((None, 3, 5, 6))
    layer.fit(batches)
    return layer, keras.ops.convert_to_numpy(layer.features)


def slow(bank, image, neighbors):
    """Distances to the nearest feature, and equation 7's weight of the patch with the largest one."""
    patches = image.reshape(-1, 6).astype("float64")
    distances = np.array([[np.linalg.norm(patch - feature) for feature in bank] for patch in patches])
    worst = distances.min(axis=1).argmax()
    core = bank[distances[worst].argmin()]
    around = np.argsort([np.linalg.norm(core - feature) for feature in bank])[:neighbors]
    weight = 1 - np.exp(distances[worst].min()) / np.exp(distances[worst][around]).sum()
    return distances.min(axis=1).reshape(3, 5), weight


def test_distances_and_weights_equal_slow_loops():
    layer, bank = fitted([NORMAL[:3], NORMAL[3:]])
    distances = layer(OTHER)
    found = {"distances": distances, "weight": layer.weight(OTHER, distances)}
    found = {key: keras.ops.convert_to_numpy(value) for key, value in found.items()}
    for row, image in enumerate(OTHER):
        distances, weight = slow(bank, image, 4)
        np.testing.assert_allclose(found["distances"][row], distances, rtol=1e-5)
        assert found["weight"][row] == pytest.approx(weight, rel=1e-4)


def test_what_it_holds_is_the_greedy_coreset_of_all_patches():
    patches, chosen = NORMAL.reshape(-1, 6), [0]
    while len(chosen) < 20:
        gaps = np.linalg.norm(patches[:, None] - patches[chosen], axis=2).min(axis=1)
        chosen.append(int(gaps.argmax()))
    np.testing.assert_array_equal(fitted([NORMAL[:1], NORMAL[1:]])[1], patches[chosen])


def test_a_patch_that_it_holds_is_at_distance_zero_and_few_are_repeated():
    layer, bank = fitted([NORMAL[:1]], count=40)
    assert len(np.unique(bank, axis=0)) == 15
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(NORMAL[:1])), 0)


def test_of_many_patches_a_uniform_sample_is_a_candidate(monkeypatch):
    monkeypatch.setattr(memory_bank, "CANDIDATES", 25)
    numbers = np.arange(3000, dtype="float32").reshape(-1, 3, 5, 1) * np.ones(6, "float32")
    _, bank = fitted(np.split(numbers, 20), count=25)
    kept = np.sort(bank[:, 0])
    assert len(np.unique(kept)) == 25 and abs(kept.mean() - 1500) < 4 * 3000 / np.sqrt(12 * 25)


def test_the_projection_chooses_other_patches_but_holds_real_ones():
    _, bank = fitted([NORMAL], components=2)
    patches = {tuple(patch) for patch in NORMAL.reshape(-1, 6)}
    assert {tuple(feature) for feature in bank} <= patches and len(np.unique(bank, axis=0)) == 20


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="expected a normal image to remember, got none"):
        fitted([NORMAL[:0]])
