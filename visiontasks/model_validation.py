"""`PredictsWithLosses`: predictions and losses of a batch from one forward pass, for one pass of validation."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import backend, ops

from visiontasks.losses.reduction import PENALTY


class Labeled(NamedTuple):
    """Images with targets by field name, of which `predict_step` computes the losses too.

    A NamedTuple is a structure that every backend takes apart and puts together; Keras itself passes it on as it is.
    """

    images: object
    targets: dict


class PredictsWithLosses:
    """A base class, before `keras.Model`, of VisionModel: its steps of prediction and of validation."""

    def predict_step(self, *args):
        """Keras's, but predictions are decoded; of `Labeled` images (predictions, {label: total and count})."""
        if backend.backend() != "jax":
            return self._predicted(*args)
        (trainable, non_trainable), data = args
        pairs = [
            *zip(self.trainable_variables, trainable, strict=True),
            *zip(self.non_trainable_variables, non_trainable, strict=True),
        ]
        with keras.StatelessScope(pairs) as scope:  # decoding may call layers
            outputs = self._predicted(data)
        return outputs, [scope.get_current_value(variable) for variable in self.non_trainable_variables]

    def _predicted(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        if not isinstance(x, Labeled):
            return self.decode(self(x, training=False))
        outputs = self(x.images, training=False)
        terms = self._terms(self._targets(None, x.targets), outputs, training=False)
        # with an axis on which Keras concatenates the replicas' outputs
        sums = {label: ops.expand_dims(ops.stack(list(term)), 0) for label, term in terms.items()}
        return self.decode(outputs), sums

    def validate_on_batch(self, batch: dict, predict: Callable | None = None) -> tuple[dict, dict[str, np.ndarray]]:
        """Predictions and losses of a batch from one forward pass, in one compiled function.

        Args:
            batch: {"image": uint8 (B, H, W, 3), targets by field name}.
            predict: instead of `predict_on_batch`.

        Returns:
            (the result of `predict_on_batch`, {loss term: float64 (2,), its total and count}). `mean_losses` takes the
            latter, summed over batches.
        """
        targets = {name: values for name, values in batch.items() if name != "image"}
        predictions, sums = (predict or self.predict_on_batch)(Labeled(batch["image"], targets))
        return predictions, {label: np.sum(pairs, axis=0, dtype=np.float64) for label, pairs in sums.items()}

    def mean_losses(self, sums: dict[str, np.ndarray]) -> dict[str, float]:
        """{"loss": …, term: its total / its count} from sums of `validate_on_batch`."""
        means = {label: float(total / max(count, 1)) for label, (total, count) in sums.items()}
        return {"loss": self._weighted(means), **{label: mean for label, mean in means.items() if label != PENALTY}}
