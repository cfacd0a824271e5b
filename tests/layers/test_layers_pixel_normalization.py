import keras
import numpy as np
import pytest
from keras.src.applications import imagenet_utils

from visiontasks.layers.pixel_normalization import PixelNormalization

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("mode", "arguments"),
    [
        ("tf", {"mean": (127.5,) * 3, "std": (127.5,) * 3}),
        ("caffe", {"mean": (103.939, 116.779, 123.68), "bgr": True}),
        ("torch", {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}),
    ],
)
def test_equals_keras_preprocessing(mode, arguments):
    expected = imagenet_utils.preprocess_input(PIXELS.astype("float32"), mode=mode)
    got = keras.ops.convert_to_numpy(PixelNormalization(**arguments)(PIXELS))
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_subtracts_in_float32_under_mixed_precision(policy):
    """254 and 255 less a mean of 254.9 differ by 1; after rounding 254.9 to bfloat16 the first would be positive."""
    layer = PixelNormalization(mean=(254.9,) * 3, dtype=policy)
    got = layer(np.array([[[[254, 255, 255]]]], np.uint8))
    assert keras.backend.standardize_dtype(got.dtype) == policy.removeprefix("mixed_")
    got = keras.ops.convert_to_numpy(keras.ops.cast(got, "float32"))
    np.testing.assert_allclose(got[0, 0, 0], [-0.9, 0.1, 0.1], rtol=4e-3)


def test_config_holds_every_argument():
    layer = PixelNormalization((1, 2, 3), (4, 5, 6), True)
    again = PixelNormalization.from_config(layer.get_config())
    assert (again.mean, again.std, again.bgr) == ((1, 2, 3), (4, 5, 6), True)


@pytest.mark.parametrize("arguments", [{"mean": (1, 2)}, {"std": (1, 0, 1)}])
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match="^(mean|std): expected"):
        PixelNormalization(**arguments)
