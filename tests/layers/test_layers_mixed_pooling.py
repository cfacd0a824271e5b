import keras
import numpy as np

from visiontasks.layers.mixed_pooling import MixedPooling2D

to_numpy = keras.ops.convert_to_numpy


def windows(x):
    """(maxima, means) of 2×2 windows."""
    cut = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, x.shape[3])
    return cut.max((2, 4)), cut.mean((2, 4))


def test_a_training_step_draws_one_of_both_and_inference_takes_the_mean():
    x = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype("float32")
    largest, mean = windows(x)
    layer = MixedPooling2D(maximum=0.25, seed=1)
    drawn = [to_numpy(layer(x, training=True)) for _ in range(400)]
    is_largest = np.array([np.array_equal(y, largest) for y in drawn])
    for y in np.array(drawn)[~is_largest][:5]:
        np.testing.assert_allclose(y, mean, rtol=1e-5, atol=1e-6)
    # four standard deviations of a binomial
    assert abs(is_largest.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 400)
    np.testing.assert_allclose(to_numpy(layer(x)), 0.25 * largest + 0.75 * mean, rtol=1e-5, atol=1e-6)
    assert layer.compute_output_shape(x.shape) == largest.shape


def test_a_compiled_step_draws_anew():
    x = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype("float32")
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, keras.layers.Flatten()(MixedPooling2D(seed=1)(inputs)))
    model.compile("sgd", loss="mse")
    losses = [model.train_on_batch(x, np.zeros((2, 36))) for _ in range(12)]
    assert len(np.unique(np.round(losses, 3))) == 2
