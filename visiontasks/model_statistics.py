"""`Adapts`: a VisionModel whose head is fitted by statistics of features, in one pass and without gradients."""

from collections.abc import Callable

import numpy as np

from visiontasks import model_arrays
from visiontasks.preprocess import Preprocess


class Adapts:
    """A base class, before `keras.Model`, of VisionModel: what it does for a head that is not `by_gradients`."""

    @property
    def by_gradients(self) -> bool:
        """Whether the model learns by `fit`, as most do; otherwise by `adapt`."""
        return all(head.by_gradients for head in self.heads.values())

    def adapt(self, x, y=None, batch_size: int = 8, on_batch: Callable[[], object] = lambda: None):
        """Fit the statistics of a head that is not `by_gradients` to normal images, in one pass.

        The backbone stays as it is, its batch norms in inference mode. A second call begins anew.

        Args:
            x: a Loader; or uint8 images (N, H, W, 3), alone or as {"image": …, "label": …}.
            y: int (N,) labels of x, or {"label": …}. Only images of the first class are used; without labels all are.
            batch_size: images at once, of arrays.
            on_batch: called after the backbone has seen a batch; what it raises ends this call, and nothing is fitted.

        Raises:
            ValueError: the head learns by gradients, the arrays are not what it learns from, or there are too few
                normal images.
        """
        ((name, head),) = self.heads.items() if len(self.heads) == 1 else ((None, None),)
        if self.by_gradients:
            raise ValueError(f"adapt: the heads {list(self.heads)} learn by gradients: call fit.")
        batches = x
        if model_arrays.is_loader(x):
            model_arrays.check_names([head], x)
            self.preprocess = Preprocess(x.size, x.resize, x.bits).get_config()
        else:
            images, targets = (x["image"], x) if isinstance(x, dict) else (x, {} if y is None else y)
            targets = targets if isinstance(targets, dict) else {head.prefix(()) + head.fields[0]: targets}
            arrays = {**targets, "image": images}
            model_arrays.check(self.heads, arrays)
            batches = (
                {key: value[start : start + batch_size] for key, value in arrays.items()}
                for start in range(0, len(images), batch_size)
            )
        try:
            head.adapt(self._normal_features(name, head, batches, on_batch))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _normal_features(self, name, head, batches, on_batch):
        """{tap: features} of each batch's images of the first class."""
        for batch in batches:
            labels = head.label_set(batch).get(head.fields[0])
            # all images of a batch, so that the backbone is compiled for one shape
            features = {**self.backbone.predict_on_batch(batch["image"]), "image": batch["image"]}
            on_batch()
            rows = slice(None) if labels is None else np.ravel(labels) == 0
            yield {tap: np.asarray(features[tap])[rows] for tap in self.taps[name]}


def check_alone(heads: dict):
    """Raise unless heads that are not `by_gradients` are the only ones of their model.

    Raises:
        ValueError: there are others, whose training would change the features afterwards.
    """
    statistical = [name for name, head in heads.items() if not head.by_gradients]
    if statistical and len(heads) > 1:
        raise ValueError(
            f"head: {statistical[0]!r} learns by statistics of the backbone's features, which the training of other "
            "heads changes. Train the other heads first. Then build a model with this head alone, on a backbone with "
            "that checkpoint as its weights."
        )
