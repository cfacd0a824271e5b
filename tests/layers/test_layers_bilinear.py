import keras
import numpy as np
import pytest

from visiontasks.layers.bilinear import Bilinear


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_it_begins_as_keras_interpolates(factor):
    x = np.random.default_rng(0).normal(size=(1, 5, 6, 3)).astype("float32")
    layer = keras.layers.Conv2DTranspose(
        3, 2 * factor - factor % 2, factor, padding="same", use_bias=False, kernel_initializer=Bilinear()
    )
    found = keras.ops.convert_to_numpy(layer(x))
    expected = keras.ops.convert_to_numpy(keras.layers.UpSampling2D(factor, interpolation="bilinear")(x))
    inside = (slice(None), slice(factor, -factor), slice(factor, -factor))  # at the borders it fades to 0
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-5, atol=1e-5)
    again = keras.layers.Conv2DTranspose.from_config(layer.get_config())
    assert isinstance(again.kernel_initializer, Bilinear)
