import keras
import numpy as np
import pytest

from visiontasks.backbones.backbone import Graph, image_input, levels, load_weights, pyramid_model
from visiontasks.backbones.unet_encoder import unet_encoder
from visiontasks.backbones.vgg import vgg
from visiontasks.errors import UserError
from visiontasks.layers.pixel_normalization import PixelNormalization


def small(**arguments):
    return unet_encoder(filters=2, depth=2, **arguments)


def randomised():
    model, rng = small(), np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model


def assert_same_weights(a, b):
    for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_weights_from_a_file(tmp_path, ending):
    model, path = randomised(), tmp_path / f"a{ending}"
    model.save(path) if ending == ".keras" else model.save_weights(path)
    assert_same_weights(small(weights=str(path)), model)


@keras.saving.register_keras_serializable(package="tests")
class Whole(keras.Model):
    def __init__(self, backbone, **kwargs):
        super().__init__(**kwargs)
        self.backbone, self.dense = backbone, keras.layers.Dense(2)

    def call(self, images):
        return self.dense(self.backbone(images)["C1"])

    def get_config(self):
        return {"backbone": keras.saving.serialize_keras_object(self.backbone)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["backbone"]))


def test_weights_of_a_model_with_a_backbone(tmp_path):
    """A whole trained model is a source of weights for its backbone alone."""
    whole = Whole(randomised())
    whole(np.zeros((1, 8, 8, 3), np.uint8))
    whole.save(tmp_path / "whole.keras")
    assert_same_weights(small(weights=str(tmp_path / "whole.keras")), whole.backbone)


def test_weights_of_a_model_whose_heads_left_layers_out(tmp_path):
    from visiontasks.heads.classifier import Classifier
    from visiontasks.model import VisionModel

    trained = VisionModel(randomised(), Classifier(2, tap="C0"))
    assert len(trained.backbone.weights) < len(small().weights)
    trained.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="has none for"):
        again = small(weights=str(tmp_path / "m.keras"))
    named = {v.path: v for v in again.weights}
    for v in trained.backbone.weights:
        np.testing.assert_array_equal(named[v.path], v)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
@pytest.mark.parametrize(
    "arguments", [{"filters": 3}, {"depth": 1}, {"depth": 3}, {"batch_norm": False}], ids=lambda a: str(a)
)
def test_weights_of_another_architecture(tmp_path, ending, arguments):
    other, path = unet_encoder(**{"filters": 2, "depth": 2, **arguments}), tmp_path / f"a{ending}"
    other.save(path) if ending == ".keras" else other.save_weights(path)
    with pytest.raises(UserError, match="does not fit unet_encoder"):
        small(weights=str(path))


def test_weights_that_are_no_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        small(weights=str(tmp_path / "none.keras"))
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(UserError, match=r"\.weights\.h5"):
        small(weights=str(tmp_path / "a.txt"))
    for ending in (".keras", ".weights.h5", ".h5"):
        (tmp_path / f"a{ending}").write_bytes(b"not what it says")
        with pytest.raises(UserError, match="does not fit"):
            load_weights(small(), tmp_path / f"a{ending}")


def test_a_lambda_in_a_file_is_not_run(tmp_path):
    marker = tmp_path / "marker"
    inputs = keras.Input((2,))
    outputs = keras.layers.Lambda(lambda x, path=str(marker): (open(path, "w").close(), x)[1])(inputs)
    keras.Model(inputs, outputs).save(tmp_path / "a.keras")
    marker.unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"does not fit .*: it has code in it, which is not run\.$"):
        load_weights(small(), tmp_path / "a.keras")
    assert not marker.exists()


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 1), (0, 32, 3), (3, 32, 32)])
def test_input_shape_is_checked(shape):
    with pytest.raises(UserError, match="input_shape"):
        image_input(shape)


def test_levels_come_first_and_in_order():
    inputs = image_input((None, None, 3))
    x = keras.layers.Rescaling(1.0)(inputs)
    model = pyramid_model(inputs, {"top": x, "C10x": x, "C2": x, "C1": x}, "a")
    assert list(model.output) == ["C1", "C2", "C10x", "top"]
    assert levels(model) == {"C1": 2, "C2": 4}


def test_strides_multiply_whatever_the_padding():
    inputs = keras.Input((None, None, 3))
    a = keras.layers.Conv2D(4, 3, strides=2, padding="valid")(inputs)
    b = keras.layers.MaxPooling2D(3)(a)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(b)
    c = keras.layers.Multiply()([b, keras.layers.Conv2D(4, 1)(gate)])
    d = keras.Sequential([keras.layers.DepthwiseConv2D(2, strides=2), keras.layers.AveragePooling2D(2)])(c)
    graph = Graph(inputs, d)
    assert [graph.stride(t) for t in (inputs, a, b, gate, c, d)] == [1, 2, 6, None, 6, 24]


def test_bottlenecks_are_what_nothing_bypasses():
    inputs = keras.Input((8, 8, 3))
    a = keras.layers.Conv2D(3, 1)(inputs)
    inner = keras.layers.Conv2D(3, 1)(a)
    b = keras.layers.Add()([a, inner])
    left, right = keras.layers.ReLU()(b), keras.layers.Conv2D(3, 1)(b)
    end = keras.layers.Add()([left, right])
    graph = Graph(inputs, end)
    assert [id(t) for t in graph.bottlenecks()] == [id(t) for t in (inputs, a, b, end)]
    assert [id(t) for t in graph.branchings()] == [id(t) for t in (a, b, end)]


def test_weights_that_saw_other_pixels_are_refused(tmp_path):
    """Keras's VGG has the same layers and shapes, and was trained on blue, green, red."""
    other = keras.models.clone_model(
        small(),
        clone_function=lambda layer: (
            PixelNormalization((103.9, 116.8, 123.7), bgr=True, name=layer.name)
            if isinstance(layer, PixelNormalization)
            else layer.__class__.from_config(layer.get_config())
        ),
    )
    other.save(tmp_path / "a.keras")
    with pytest.raises(UserError, match="does not fit unet_encoder: pixels: expected .*'bgr': False.*'bgr': True"):
        small(weights=str(tmp_path / "a.keras"))
    with pytest.raises(UserError, match="Use keras_vgg16 for it"):
        vgg("vgg16", weights="vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")
