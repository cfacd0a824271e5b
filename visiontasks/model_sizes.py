"""`FunctionsBySize`: one compiled function per image size, to train on images of several sizes with TensorFlow."""

from keras import backend

from visiontasks.model_validation import Labeled


class FunctionsBySize:
    """A base class, before `keras.Model`, of models that take images of any size.

    Keras compiles one function for all sizes. TensorFlow traces it with an unknown height and width, but anchors and
    skip connections depend on them. So a function is compiled for each size when it first occurs.
    """

    def make_train_function(self, force=False):
        self._make_by_size("train_function", super().make_train_function, force)

    def make_test_function(self, force=False):
        self._make_by_size("test_function", super().make_test_function, force)

    def make_predict_function(self, force=False):
        self._make_by_size("predict_function", super().make_predict_function, force)

    def _make_by_size(self, name, make, force):
        if backend.backend() != "tensorflow" or None not in self.backbone.input.shape[1:3]:
            make(force)
            return
        if getattr(self, name) is not None and not force:
            return
        by_size = {}

        def function_for(batch):
            size = _image_size(batch)
            if size not in by_size:
                make(force=True)
                by_size[size] = getattr(self, name)
                setattr(self, name, function)
            return by_size[size]

        def function(data):
            if isinstance(data, list):  # `predict` passes batches, `fit` and `evaluate` an iterator
                return function_for(data[0])(data)
            for _ in range(self.steps_per_execution):
                batch = next(data)
                outputs = function_for(batch)(iter([batch]))
            return outputs

        setattr(self, name, function)


def _image_size(batch) -> tuple[int, int]:
    """(height, width) of a batch from one of Keras's adapters."""
    x = batch[0] if isinstance(batch, (tuple, list)) else batch
    x = x["image"] if isinstance(x, dict) else x.images if isinstance(x, Labeled) else x
    x = x.values[0] if hasattr(x, "values") else x  # tf.distribute: a share of the batch per replica
    return tuple(x.shape[1:3])
