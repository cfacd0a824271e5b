"""Any number of tags for a whole image."""

import math
from typing import Literal

from keras import ops

from visiontasks.arguments import Classes, OpenShare, Positive
from visiontasks.heads.pooled import PooledHead
from visiontasks.losses import sigmoid
from visiontasks.sample import UNLABELED

LOSSES = {
    "binary_cross_entropy": sigmoid.binary_cross_entropy,
    "focal": sigmoid.focal,
    "asymmetric": sigmoid.asymmetric,
}


class Tagger(PooledHead):
    """Image tags: pooling of the deepest features, hidden layers, an independent sigmoid for each tag.

    Learns from `tags`, float (B, C): 1 present, 0 absent, -1 not labeled. Raw outputs are logits float32 (B, C). They
    decode to {"scores": float32 (B, C)}, each 0..1.

    Args:
        classes: names of the tags, or their number.
        hidden: units of each hidden dense layer.
        dropout: share of units dropped after each hidden layer, or before the last layer if there is none.
        loss: binary_cross_entropy, focal (Lin et al. 2017) or asymmetric (Ridnik et al. 2021).
        positive_weight: weight of a positive in binary_cross_entropy; one number, or one per tag.
        prior: expected share of positives, which sets the initial bias (Lin et al. 2017, section 4.1).
        pooling: avg, max, flatten (which fixes the image size), or pyramid: see `classifier`.
        tap: the backbone's output to classify; by default `top` if it exists, otherwise the deepest level.
        activation: after each hidden layer; networks before AlexNet use tanh.

    Raises:
        ValueError: an argument is out of bounds, or the number of positive weights does not fit the tags.
    """

    task = "tagging"
    fields = ("tags",)
    explains = ("tag",)

    def __init__(
        self,
        classes: Classes,
        loss: Literal["binary_cross_entropy", "focal", "asymmetric"] = "binary_cross_entropy",
        positive_weight: Positive | tuple[Positive, ...] = 1.0,
        prior: OpenShare = 0.1,
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        if isinstance(positive_weight, tuple) and len(positive_weight) != len(self.classes):
            raise ValueError(
                f"positive_weight: expected one number or {len(self.classes)}, one per tag; got {len(positive_weight)}."
            )
        self.loss, self.positive_weight = loss, positive_weight

    @property
    def bias_start(self):
        prior = self.arguments["prior"]
        return math.log(prior / (1 - prior))

    @property
    def loss_terms(self):
        return (self.loss,)

    def compute_losses(self, targets, outputs, training=True):
        tags = ops.cast(targets["tags"], "float32")
        extra = {"positive_weight": self.positive_weight} if self.loss == "binary_cross_entropy" else {}
        return {self.loss: LOSSES[self.loss](tags, outputs, tags > UNLABELED, **extra)}

    def decode(self, outputs):
        return {"scores": ops.sigmoid(ops.cast(outputs, "float32"))}
