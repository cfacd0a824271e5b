"""One class for a whole image."""

from keras import ops

from visiontasks.arguments import Classes, Share
from visiontasks.heads.pooled import PooledHead
from visiontasks.losses import softmax
from visiontasks.sample import UNLABELED


class Classifier(PooledHead):
    """Image classes: pooling of the deepest features, hidden layers, a softmax over exclusive classes.

    Learns from `label`, int (B,), -1 = not labeled. Raw outputs are logits float32 (B, C). They decode to
    {"scores": float32 (B, C)}, which sum to 1.

    Args:
        classes: names of the classes, or their number. In a recipe also `imagenet`: the 1000 classes of the backbone's
            checkpoint, with its classification layer.
        hidden: units of each hidden dense layer.
        dropout: share of units dropped after each hidden layer, or before the last layer if there is none.
        label_smoothing: share of the target spread over all classes, 0..1 (Szegedy et al. 2016, section 7).
        pooling: avg, max, flatten (which fixes the image size), or pyramid (maxima in 4×4, 2×2 and 1×1 cells: spatial
            pyramid pooling, He et al. 2014, https://arxiv.org/abs/1406.4729, which keeps roughly where things are).
        tap: the backbone's output to classify; by default `top` if it exists, otherwise the deepest level.
        activation: after each hidden layer; networks before AlexNet use tanh.
    """

    task = "classification"
    fields = ("label",)
    loss_terms = ("cross_entropy",)

    def __init__(self, classes: Classes, label_smoothing: Share = 0.0, **kwargs):
        super().__init__(classes, **kwargs)
        self.label_smoothing = label_smoothing

    def compute_losses(self, targets, outputs, training=True):
        labels = ops.reshape(targets["label"], (-1,))
        # smoothing regularizes training; the validation loss stays without it, comparable between runs
        smoothing = self.label_smoothing if training else 0.0
        return {"cross_entropy": softmax.cross_entropy(labels, outputs, labels > UNLABELED, smoothing)}

    def decode(self, outputs):
        return {"scores": ops.softmax(ops.cast(outputs, "float32"), axis=-1)}
