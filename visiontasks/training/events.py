"""`Events`: TensorBoard's files of a training, with the names that Keras's callback gives."""

import shutil
from pathlib import Path

import keras

from visiontasks.errors import UserError


class Events(keras.callbacks.Callback):
    """Writes an epoch's losses, metrics and learning rate for TensorBoard: `train/` and `validation/`, `epoch_NAME`.

    TensorFlow writes them, on every backend.

    Args:
        folder: of the files. What is there is replaced by the epochs in `log`, so that a training that goes on leaves
            no epoch twice and none out.
        log: the MetricsLog, which comes before this one.
    """

    def __init__(self, folder: Path, log):
        super().__init__()
        self.folder, self.log, self._writers, self._written = Path(folder), log, {}, 0

    def on_train_begin(self, logs=None):
        if not self._writers or self._written != len(self.log.epochs.rows):  # training went back
            for writer in self._writers.values():
                writer.close()
            self._writers, self._written = {}, 0
            shutil.rmtree(self.folder, ignore_errors=True)
            for row in self.log.epochs.rows:
                self._write(row)

    def on_epoch_end(self, epoch, logs=None):
        self._write(self.log.epochs.rows[-1])

    def _write(self, row):
        import tensorflow as tf

        try:
            self._scalars(tf, row)
        except tf.errors.OpError as error:  # TensorFlow's errors of a disk are no OSErrors
            raise UserError(
                f"cannot write TensorBoard's events to {self.folder}: {error.message}. Free the disk, or give another "
                "folder.",
                "dir",
            ) from error

    def _scalars(self, tf, row):
        self._written += 1
        for key, value in row.items():
            if key in ("epoch", "step", "seconds") or value is None or value != value:
                continue
            name = key.removeprefix("val_")
            part = "train" if name == key else "validation"
            if part not in self._writers:
                self._writers[part] = tf.summary.create_file_writer(str(self.folder / part))
            with self._writers[part].as_default():
                tf.summary.scalar(f"epoch_{name}", value, step=row["epoch"] - 1)
        for writer in self._writers.values():
            writer.flush()
