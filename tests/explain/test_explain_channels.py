"""Filters and feature maps are those of the layers."""

import fakes
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks import api, explain
from visiontasks.errors import UserError
from visiontasks.explain.sheets import filter_sheet


def test_filters_are_the_first_kernels_and_norms_those_of_all():
    backbone = fakes.backbone((32, 32))
    convolutions = [layer for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)]
    found = explain.filters(backbone)
    assert found.shape == (4, 3, 3, 3)
    np.testing.assert_array_equal(found[1], ops.convert_to_numpy(convolutions[0].kernel)[..., 1])
    norms = explain.filter_norms(backbone)
    assert list(norms) == [layer.name for layer in convolutions]
    for layer in convolutions:
        kernel = ops.convert_to_numpy(layer.kernel)
        expected = [np.linalg.norm(kernel[..., i]) for i in range(kernel.shape[-1])]
        np.testing.assert_allclose(norms[layer.name], expected, rtol=1e-5)


def test_filters_that_see_gray_have_one_channel_and_are_drawn():
    backbone = api.backbone("lenet5", input_shape=(32, 32, 3))
    found = explain.filters(backbone)
    assert found.shape == (6, 5, 5, 1)
    np.testing.assert_array_equal(
        found[2, ..., 0], ops.convert_to_numpy(backbone.get_layer("conv1").kernel)[:, :, 0, 2]
    )
    drawn = filter_sheet(found)
    assert drawn.shape[2] == 3 and (drawn == drawn[..., :1]).all() and np.ptp(drawn) > 200


def test_norms_of_depthwise_filters_are_one_a_channel():
    inputs = keras.Input((8, 8, 3))
    backbone = keras.Model(inputs, {"C0": keras.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(inputs)})
    ((name, norms),) = explain.filter_norms(backbone).items()
    kernel = ops.convert_to_numpy(backbone.get_layer(name).kernel)
    np.testing.assert_allclose(
        norms, [np.linalg.norm(kernel[..., i, j]) for i in range(3) for j in range(2)], rtol=1e-5
    )
    with pytest.raises(UserError, match="does not begin with"):
        explain.filters(backbone)


def test_feature_maps_are_the_strongest_channels():
    backbone, image = fakes.backbone((32, 32)), fakes.images(1)["image"][0]
    found = explain.feature_maps(backbone, image, count=3)
    assert list(found) == ["C1", "C2", "C3"]
    for level, values in backbone(image[None]).items():
        values = ops.convert_to_numpy(values)[0]
        numbers, maps = found[level]
        means = np.abs(values).mean(axis=(0, 1))
        assert means[numbers].min() >= np.delete(means, numbers).max() and (np.diff(means[numbers]) <= 0).all()
        np.testing.assert_allclose(maps, values[..., numbers].transpose(2, 0, 1), rtol=1e-5)
