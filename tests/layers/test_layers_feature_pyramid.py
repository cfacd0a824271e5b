"""The pyramid by hand, at even, odd and unrelated sizes."""

import keras
import numpy as np
import pytest

from visiontasks.layers.feature_pyramid import FeaturePyramid, enlarge


@pytest.mark.parametrize(
    ("small", "large"), [((4, 3), (8, 6)), ((4, 3), (7, 5)), ((17, 3), (35, 10)), ((5, 4), (5, 4))]
)
def test_each_position_takes_the_nearest_rounded_down(small, large):
    x = np.random.default_rng(0).normal(size=(2, *small, 3)).astype("float32")
    rows, columns = (np.arange(b) * a // b for a, b in zip(small, large, strict=True))
    got = keras.ops.convert_to_numpy(enlarge(keras.ops.convert_to_tensor(x), large))
    np.testing.assert_array_equal(got, x[:, rows][:, :, columns])


def conv(x, kernel, bias, stride=1):
    """A convolution with zeros of the same width on every side, position by position."""
    size = kernel.shape[0]
    x = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    rows, columns = ((n - size) // stride + 1 for n in x.shape[1:3])
    result = np.zeros((len(x), rows, columns, kernel.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
            result[:, i, j] = np.tensordot(window, kernel, 3) + bias
    return result


@pytest.mark.parametrize("sizes", [((8, 12), (4, 6), (2, 3)), ((9, 7), (5, 4), (3, 2))])
@pytest.mark.parametrize("top", [None, "max_pool", "convs"])
def test_equals_the_slow_one(top, sizes):
    rng = np.random.default_rng(1)
    maps = [rng.normal(size=(2, *size, 3 + i)).astype("float32") for i, size in enumerate(sizes)]
    layer = FeaturePyramid(5, top)
    got = [keras.ops.convert_to_numpy(x) for x in layer([keras.ops.convert_to_tensor(x) for x in maps])]
    assert [x.shape for x in got] == layer.compute_output_shape([x.shape for x in maps])
    weights = {v.path.split("/", 1)[1]: np.random.default_rng(2).normal(size=v.shape) for v in layer.weights}
    for variable in layer.weights:
        variable.assign(weights[variable.path.split("/", 1)[1]])
    got = [keras.ops.convert_to_numpy(x) for x in layer([keras.ops.convert_to_tensor(x) for x in maps])]

    def of(name):
        return weights[f"{name}/kernel"], weights[f"{name}/bias"]

    merged, expected = None, []
    for i in (2, 1, 0):
        lateral = conv(maps[i], *of(f"lateral{i}"))
        if merged is not None:
            rows, columns = (np.arange(b) * a // b for a, b in zip(merged.shape[1:3], sizes[i], strict=True))
            lateral = lateral + merged[:, rows][:, :, columns]
        merged = lateral
        expected.insert(0, conv(merged, *of(f"output{i}")))
    if top == "max_pool":
        expected.append(expected[-1][:, ::2, ::2])
    elif top == "convs":
        expected.append(conv(expected[-1], *of("top0"), stride=2))
        expected.append(conv(np.maximum(expected[-1], 0), *of("top1"), stride=2))
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3 * np.abs(theirs).max())


def test_an_unknown_top_is_an_error():
    with pytest.raises(ValueError, match="top: expected one of"):
        FeaturePyramid(4, "pool")


def test_config_makes_the_same_layer():
    layer = FeaturePyramid(7, "convs", name="p")
    assert FeaturePyramid.from_config(layer.get_config()).get_config() == layer.get_config()
