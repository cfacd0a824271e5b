"""What heads share: the taps that they are built for, kept in a file."""

import fakes
import keras
import numpy as np

from visiontasks.heads.unet import UNet


def test_a_head_alone_is_saved_with_its_taps(tmp_path):
    """In a functional model of Keras's, where no VisionModel builds it."""
    features = {"C2": keras.Input((8, 12, 4), name="C2"), "C1": keras.Input((16, 24, 3), name="C1")}
    features["image"] = keras.Input((32, 48, 3), name="image")
    head = UNet(2, filters=[8, 4])
    head.build(fakes.taps({name: x.shape[1:] for name, x in features.items()}))
    model = keras.Model(features, head(features))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    (loaded,) = (layer for layer in again.layers if isinstance(layer, UNet))
    assert [tap.name for tap in head.tapped] == ["C1", "C2"] and loaded.tapped == head.tapped
    given = {name: np.ones((1, *x.shape[1:]), "float32") for name, x in features.items()}
    np.testing.assert_array_equal(again.predict(given, verbose=0), model.predict(given, verbose=0))
    assert UNet.from_config(head.get_config()).get_build_config() is None
