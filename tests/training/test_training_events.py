"""What TensorBoard's events say of a disk that does not take them."""

import types

import keras
import pytest

from visiontasks.errors import UserError
from visiontasks.training.events import Events


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes them")
def test_a_full_disk_is_an_error_that_names_the_folder(tmp_path, monkeypatch):
    import tensorflow as tf

    def full(path):
        raise tf.errors.ResourceExhaustedError(None, None, f"{path}; No space left on device")

    monkeypatch.setattr(tf.summary, "create_file_writer", full)
    log = types.SimpleNamespace(epochs=types.SimpleNamespace(rows=[{"epoch": 1, "loss": 0.5}]))
    events = Events(tmp_path / "tensorboard", log)
    with pytest.raises(UserError, match=r"^dir: cannot write .*tensorboard: .*No space left on device\. Free the disk"):
        events.on_train_begin()
        events.on_epoch_end(0)
