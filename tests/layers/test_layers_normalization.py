import keras
import numpy as np
import pytest

from visiontasks.layers.normalization import FrozenBatchNormalization, normalization

AXES = {"batch": (0, 1, 2), "layer": (1, 2, 3), "instance": (1, 2)}


@pytest.mark.parametrize("kind", AXES)
def test_mean_and_variance_over_the_axes_of_its_figure(kind):
    x = np.random.default_rng(0).normal(3, 5, (4, 6, 5, 8)).astype("float32")
    got = keras.ops.convert_to_numpy(normalization(kind, "norm", 8)(x, training=True))
    mean, variance = x.mean(AXES[kind], keepdims=True), x.var(AXES[kind], keepdims=True)
    np.testing.assert_allclose(got, (x - mean) / np.sqrt(variance + 1e-5), atol=1e-4)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (48, 24), (6, 6), (7, 7), (33, 11)])
def test_group_norm_takes_the_largest_number_of_groups_that_divides(channels, groups):
    assert normalization("group", "norm", channels).groups == groups


def test_a_frozen_batch_norm_stays_frozen():
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, normalization("frozen_batch", "norm", 2)(inputs))
    model.trainable = False
    model.trainable = True
    assert model.trainable_variables == []
    layer = model.get_layer("norm")
    before = [np.array(w) for w in layer.get_weights()]
    x = np.random.default_rng(0).normal(3, 5, (4, 4, 4, 2)).astype("float32")
    got = keras.ops.convert_to_numpy(model(x, training=True))
    np.testing.assert_allclose(got, x / np.sqrt(1 + 1e-5), rtol=1e-5)  # its statistics are still 0 and 1
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    again = keras.Model.from_config(model.get_config())
    assert isinstance(again.get_layer("norm"), FrozenBatchNormalization)


def test_an_unknown_kind_lists_the_known():
    with pytest.raises(ValueError, match=r"norm: expected batch, frozen_batch, group, layer, instance; got 'spectral'"):
        normalization("spectral", "norm", 8)
