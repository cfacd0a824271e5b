"""What may be loaded as a model: a file that visiontasks saved, and nothing that runs code."""

import zipfile

import fakes
import keras
import numpy as np
import pytest

import visiontasks as vt
from visiontasks.errors import UserError
from visiontasks.heads.tagger import Tagger
from visiontasks.model import VisionModel


def other_model(path, marker):
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Dense(1)(inputs)).save(path)


def code(path, marker):
    inputs = keras.Input((2,))
    outputs = keras.layers.Lambda(lambda x, path=str(marker): (open(path, "w").close(), x)[1])(inputs)
    keras.Model(inputs, outputs).save(path)
    marker.unlink(missing_ok=True)


def half(path, marker):
    other_model(path, marker)
    path.write_bytes(path.read_bytes()[:2000])


def without_weights(path, marker):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", '{"module": "x", "class_name": 3}')
        file.writestr("metadata.json", "{}")


def leads_out(path, marker):
    with zipfile.ZipFile(path, "w") as file:
        for name in (f"../{marker.name}", str(marker), "config.json", "metadata.json", "model.weights.h5"):
            file.writestr(name, "{}")


def no_model(path, marker):
    path.write_bytes(b"\x89HDF\r\n\x1a\n")


@pytest.mark.parametrize("make", [other_model, code, half, without_weights, leads_out, no_model])
@pytest.mark.parametrize("load", [vt.load_model, vt.load])
def test_items_69_73_74_78_only_models_that_were_saved_here_are_loaded(make, load, tmp_path):
    path, marker = tmp_path / "below" / "m.keras", tmp_path / "marker"
    path.parent.mkdir()
    make(path, marker)
    with pytest.raises(UserError, match=r"m\.keras: expected a model that visiontasks saved: "):
        load(path)
    assert not marker.exists()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow alone has rules for names")
@pytest.mark.parametrize(
    ("head", "model", "taken"),
    [("~", "ok", False), ("a b", "ok", False), ("头", "ok", False), ("a\\b", "ok", False)]
    + [("ok", "_model", False), ("ok", "-", False), ("_head", ".m", True), ("-a>b.c", "0_-", True)],
)
def test_a_name_that_tensorflow_does_not_take_is_said_as_the_file_is_loaded(head, model, taken, tmp_path):
    assert takes(model, head) == taken
    VisionModel(fakes.backbone((32, 32)), Tagger(3, name=head), name=model).save(tmp_path / "m.keras")
    if taken:
        images = np.zeros((1, 32, 32, 3), np.uint8)
        assert vt.load_model(tmp_path / "m.keras").predict(images, verbose=0).keys() == {"scores"}
        return
    with pytest.raises(UserError, match=r"m\.keras: expected a model .*: its layer '.*' has a name that TensorFlow"):
        vt.load_model(tmp_path / "m.keras")


def takes(model, layer) -> bool:
    """Whether TensorFlow takes an operation in such scopes. (Keras goes on in a scope that it has refused.)"""
    import tensorflow as tf

    @tf.function
    def run(x):
        with tf.name_scope(model), tf.name_scope(layer):
            return tf.reduce_mean(x)

    try:
        run(tf.zeros(3))
    except (ValueError, tf.errors.InvalidArgumentError):
        return False
    return True
