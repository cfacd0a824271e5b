"""What every layer must do. A new one gives, in EXAMPLES, its arguments and the shapes of its inputs."""

import importlib
import pkgutil

import keras
import numpy as np
import passes
import pytest
from keras import ops

from visiontasks import layers as package

# {class: (arguments, the shapes of its inputs)}; a shape that ends in "positions" is of whole numbers below pool_size²
MAP = (2, 6, 8, 3)
EXAMPLES = {
    "DilatedMaxPooling2D": ({"dilation_rate": 2}, [(2, 7, 8, 3)]),
    "FlattenedConv2D": ({"filters": 5}, [MAP]),
    "L2Normalization": ({"scale": 3.0}, [MAP]),
    "L2Pooling2D": ({"pool_size": 3, "strides": 2}, [MAP]),
    "LocalResponseNormalization": ({"size": 3, "alpha": 0.5}, [MAP]),
    "MaxPoolingWithPositions2D": ({}, [(2, 7, 8, 3)]),
    "MaxUnpooling2D": ({}, [(2, 3, 4, 3), (2, 3, 4, 3, "positions")]),
    "MixedPooling2D": ({"maximum": 0.3}, [MAP]),
    "NearestResize": ({}, [(2, 3, 4, 3), MAP]),
    "PixelNormalization": ({"mean": (0.1, 0.2, 0.3), "std": (2.0, 1.0, 0.5)}, [MAP]),
    "SpatialPyramidPooling2D": ({"bins": [3, 1]}, [(2, 7, 8, 3)]),
    "SpatiallySeparableConv2D": ({"filters": 5, "strides": 2, "padding": "same"}, [MAP]),
}
# of these a network's contracts or their own file say more
ELSEWHERE = {
    "BatchNormalization",
    "FeaturePyramid",
    "FrozenBatchNormalization",
    "MemoryBank",
    "PatchGaussians",
    "RegionProposals",
}


def classes():
    """{name: class} of every layer in the folder."""
    found = {}
    for one in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{one.name}")
        for name, value in vars(module).items():
            own = (
                isinstance(value, type)
                and issubclass(value, keras.layers.Layer)
                and value.__module__ == module.__name__
            )
            if own and not name.startswith("_"):
                found[name] = value
    return found


CLASSES = classes()


def test_every_layer_has_an_example():
    assert set(CLASSES) == {*EXAMPLES, *ELSEWHERE}


def inputs_of(name):
    """Values that are far from each other, so that the largest stays it beside a small change."""
    rng = np.random.default_rng(0)
    for shape in EXAMPLES[name][1]:
        if shape[-1] == "positions":
            yield rng.integers(0, 4, shape[:-1]).astype("int32")
        else:
            yield (rng.permutation(np.arange(np.prod(shape))) / np.prod(shape) * 6 - 3).reshape(shape).astype("float32")


def made(name, policy="float32"):
    keras.utils.set_random_seed(0)
    return CLASSES[name](**EXAMPLES[name][0], dtype=policy)


def called(layer, inputs):
    """What a layer makes of a list of inputs: a list of tensors."""
    return keras.tree.flatten(layer(inputs if len(inputs) > 1 else inputs[0]))


def arrays(tensors):
    return [ops.convert_to_numpy(ops.cast(x, "float32")) for x in tensors]


@pytest.mark.parametrize("name", EXAMPLES)
def test_saved_and_loaded_it_computes_the_same(name, tmp_path):
    inputs = list(inputs_of(name))
    symbols = [keras.Input(x.shape[1:], dtype=str(x.dtype)) for x in inputs]
    layer = made(name)
    model = keras.Model(symbols, called(layer, symbols))
    expected = arrays(called(layer, inputs))
    assert [x.shape[1:] for x in model.outputs] == [x.shape[1:] for x in expected]
    model.save(tmp_path / "layer.keras")
    again = keras.saving.load_model(tmp_path / "layer.keras")
    for a, b in zip(arrays(keras.tree.flatten(again(inputs))), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    config = again.layers[-1].get_config()
    for argument, value in EXAMPLES[name][0].items():
        assert config[argument] == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_half_precision_differs_by_rounding(name, policy):
    dtype = policy.removeprefix("mixed_")
    # the same values for both: which is the largest must not depend on their rounding
    inputs = [ops.cast(x, dtype) if x.dtype == np.float32 else x for x in inputs_of(name)]
    exact, layer = made(name), made(name, policy)
    expected = called(exact, [ops.cast(x, "float32") if i == 0 else x for i, x in enumerate(inputs)])
    called(layer, inputs)  # builds it
    layer.set_weights(exact.get_weights())
    found = called(layer, inputs)
    assert keras.backend.standardize_dtype(found[0].dtype) == dtype
    for a, b in zip(arrays(found), arrays(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=np.abs(b).max() * (2e-2 if dtype == "bfloat16" else 3e-3))


@pytest.mark.parametrize("name", EXAMPLES)
def test_gradients_are_differences(name):
    """Of all inputs and weights at once, along a random direction."""
    inputs, layer, rng = list(inputs_of(name)), made(name), np.random.default_rng(1)
    shapes = [x.shape for x in arrays(called(layer, inputs))]
    weights = layer.trainable_variables
    movable = [i for i, x in enumerate(inputs) if x.dtype == np.float32]
    values = [inputs[i] for i in movable] + [ops.convert_to_numpy(v) for v in weights]
    slopes = [rng.normal(size=shape).astype("float32") for shape in shapes]

    def total(values):
        given = list(inputs)
        for i, value in zip(movable, values, strict=False):
            given[i] = value
        outputs = passes.with_values(weights, values[len(movable) :], lambda: called(layer, given))
        return sum(
            ops.sum(ops.multiply(x, slope))
            for x, slope in zip(outputs, slopes, strict=True)
            if "float" in keras.backend.standardize_dtype(x.dtype)
        )

    directions = [rng.choice(np.float32([-1, 1]), x.shape) for x in values]
    _, gradients = passes.gradients(total, values)
    along = sum(np.sum(ops.convert_to_numpy(g) * d) for g, d in zip(gradients, directions, strict=True))
    step = 1e-3  # below half the distance of two values
    ahead, behind = (
        float(total([ops.convert_to_tensor(x + sign * step * d) for x, d in zip(values, directions, strict=True)]))
        for sign in (1, -1)
    )
    assert along != 0 and (ahead - behind) / (2 * step) == pytest.approx(float(along), rel=1e-2, abs=1e-2)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="compiled by XLA")
@pytest.mark.parametrize("name", EXAMPLES)
def test_compiled_it_computes_the_same(name):
    inputs, layer = list(inputs_of(name)), made(name)
    expected = arrays(called(layer, inputs))
    compiled = passes.jitted(lambda *inputs: called(layer, list(inputs)))(*inputs)
    for a, b in zip(arrays(compiled), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
