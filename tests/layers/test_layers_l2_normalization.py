import keras
import numpy as np

from visiontasks.layers.l2_normalization import L2Normalization


def test_every_position_has_the_length_of_the_scale():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 8)).astype("float32") * 50
    layer = L2Normalization(20.0)
    got = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(got, 20 * x / np.linalg.norm(x, axis=-1, keepdims=True), rtol=1e-5)
    assert L2Normalization.from_config(layer.get_config()).scale == 20.0


def test_half_precision_does_not_overflow():
    layer = L2Normalization(20.0, dtype="mixed_float16")
    got = keras.ops.convert_to_numpy(layer(np.full((1, 2, 2, 512), 3000, "float16")))
    np.testing.assert_allclose(got.astype("float32"), 20 / 512**0.5, rtol=1e-3)
