"""The blocks' shapes and what is inside them."""

import keras
import numpy as np
import pytest

from visiontasks.layers import csp


def test_widths_and_depths_of_the_published_sizes():
    assert [csp.width(1024, size) for size in "nsmlx"] == [256, 512, 576, 512, 640]
    assert [csp.width(64, size) for size in "nsmlx"] == [16, 32, 48, 64, 80]
    assert [csp.depth(3, size) for size in "nsmlx"] == [1, 1, 2, 3, 3]
    assert [csp.depth(6, size) for size in "nsmlx"] == [2, 2, 4, 6, 6]


@pytest.mark.parametrize("shortcut", [True, False])
def test_a_block_adds_its_input_only_with_shortcuts(shortcut):
    x = keras.Input((8, 8, 6))
    model = keras.Model(x, csp.csp_block(x, 10, 2, "block", shortcut))
    assert model.output.shape == (None, 8, 8, 10)
    assert sum(isinstance(layer, keras.layers.Add) for layer in model.layers) == 2 * shortcut
    # both halves, and what each of two pairs gives
    assert model.get_layer("block_parts").output.shape[-1] == 4 * 5


def test_pools_behind_each_other_are_larger_windows():
    x = keras.Input((20, 20, 4))
    model = keras.Model(x, csp.pooling_pyramid(x, 4, "pyramid"))
    pools = keras.Model(x, [model.get_layer(f"pyramid_pool{i}").output for i in (1, 2, 3)])
    reduced = keras.Model(x, model.get_layer("pyramid_reduce_silu").output)
    image = np.random.default_rng(0).normal(size=(1, 20, 20, 4)).astype("float32")
    for window, got in zip((5, 9, 13), pools(image), strict=True):
        expected = keras.layers.MaxPooling2D(window, 1, padding="same")(reduced(image))
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (got, expected)))


@pytest.mark.parametrize("sides", [(16, 8, 4), (17, 9, 5), (15, 7, 3), (16, 4), (13, 5, 2)])
def test_a_pyramid_keeps_its_sizes(sides):
    """Halved exactly, rounded up, rounded down, quartered, and cut by unpadded convolutions."""
    levels = [keras.Input((side, side + 1, 8)) for side in sides]
    steps = [4 if sides == (16, 4) else 2] * (len(sides) - 1)
    outputs = csp.path_aggregation(levels, steps, "n")
    assert [tuple(x.shape[1:3]) for x in outputs] == [(side, side + 1) for side in sides]
    assert [x.shape[-1] for x in outputs] == [64, 128, 256][: len(sides)]
    model = keras.Model(levels, outputs)
    got = model([np.ones((1, *x.shape[1:]), "float32") for x in levels])
    assert [tuple(x.shape[1:3]) for x in got] == [(side, side + 1) for side in sides]
