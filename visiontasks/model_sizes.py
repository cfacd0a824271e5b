"""A compiled function for each image size, so that one network can train on images of several sizes on TensorFlow."""

from keras import backend


class FunctionsBySize:
    """What a `keras.Model` that takes images of any size derives from, before `keras.Model` itself.

    Keras compiles one function for all sizes. TensorFlow traces it with height and width unknown, but heads need to
    know theirs: anchors and skips depend on them. So each size gets a function of its own when it first comes.
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
            if isinstance(data, list):  # `predict` gives batches, `fit` and `evaluate` give an iterator
                return function_for(data[0])(data)
            for _ in range(self.steps_per_execution):
                batch = next(data)
                outputs = function_for(batch)(iter([batch]))
            return outputs

        setattr(self, name, function)


def _image_size(batch) -> tuple[int, int]:
    """(height, width) of a batch as Keras's adapters give it."""
    x = batch[0] if isinstance(batch, (tuple, list)) else batch
    x = x["image"] if isinstance(x, dict) else x
    x = x.values[0] if hasattr(x, "values") else x  # of tf.distribute: each replica has a share of the batch
    return tuple(x.shape[1:3])
