"""A vector for a whole image, near those of images of its class."""

from typing import Literal

import keras
from keras import ops

from visiontasks.arguments import Channels, Classes, OpenShare, Positive
from visiontasks.heads.head import Head
from visiontasks.heads.pooled import pooled_tap
from visiontasks.losses import proxies, triplets
from visiontasks.sample import UNLABELED


class Embedder(Head):
    """Embeddings for retrieval: average pooling, one dense layer, length 1; learned from the classes of images.

    Learns from `label`, int (B,), -1 = not labeled. Raw outputs are embeddings float32 (B, size) of length 1, and so
    are predictions, {"embedding": float32 (B, size)}. Two images are alike as the dot product of their embeddings is
    large, also images of classes that were not in training.

    Args:
        classes: names of the classes that it learns from, or their number.
        size: numbers of an embedding.
        loss: proxy_anchor (Kim et al. 2020), which compares a learned proxy of each class with the whole batch;
            proxy_nca (ProxyNCA++, Teh et al. 2020), which compares each image with the proxies of all classes; or
            triplet (Schroff et al. 2015), which compares images of a batch and learns only from classes that occur in
            it twice: it needs batches of several times as many images as there are classes.
        margin: of proxy_anchor, a cosine, by default 0.1; of triplet, a squared distance, by default 0.2.
        scale: of proxy_anchor, of a cosine in an exponent.
        temperature: of proxy_nca, which divides squared distances.
        tap: the backbone's output that is pooled; by default `top` if it exists, otherwise the deepest level.
    """

    task = "retrieval"
    fields = ("label",)

    def __init__(
        self,
        classes: Classes,
        size: Channels = 128,
        loss: Literal["proxy_anchor", "proxy_nca", "triplet"] = "proxy_anchor",
        margin: OpenShare | None = None,
        scale: Positive = 32.0,
        temperature: Positive = 1 / 9,
        tap: str | None = None,
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        self.size, self.loss, self.tap = size, loss, tap
        self.margin = margin if margin is not None else 0.2 if loss == "triplet" else 0.1
        self.scale, self.temperature = scale, temperature
        self.pool = keras.layers.GlobalAveragePooling2D(name="pool", dtype=self.dtype_policy)
        # float32 whatever the policy: neighbors are told apart by the last digits
        self.project = keras.layers.Dense(size, dtype="float32", name="project")

    @property
    def loss_terms(self):
        return {"proxy_anchor": ("positive", "negative"), "proxy_nca": ("proxy",), "triplet": ("triplet",)}[self.loss]

    def taps(self, available):
        return (pooled_tap(self.tap, available, self.name),)

    def build(self, taps):
        super().build(taps)
        (shape,) = (tap.shape for tap in taps.values())
        self.pool.build(shape)
        self.project.build(self.pool.compute_output_shape(shape))
        if self.loss == "triplet":
            return
        # Random directions, as both papers start, that learn 100 times as fast as the network, as in Kim et al.: only
        # the direction counts, and a step of Adam, which moves each number by the rate, turns it by rate / stddev.
        start = keras.initializers.RandomNormal(stddev=0.01)
        self.proxies = self.add_weight(
            shape=(len(self.classes), self.size), initializer=start, dtype="float32", name="proxies"
        )

    def call(self, features, training=None):
        (x,) = features.values()
        return ops.normalize(self.project(self.pool(x)), axis=-1)

    def compute_losses(self, targets, outputs, training=True):
        labels, embeddings = ops.reshape(targets["label"], (-1,)), ops.cast(outputs, "float32")
        if self.loss == "triplet":
            return {"triplet": triplets.semi_hard(labels, embeddings, labels > UNLABELED, self.margin)}
        similarities = ops.matmul(embeddings, ops.transpose(ops.normalize(self.proxies, axis=-1)))
        if self.loss == "proxy_nca":
            return {"proxy": proxies.proxy_nca(labels, similarities, labels > UNLABELED, self.temperature)}
        terms = proxies.proxy_anchor(labels, similarities, labels > UNLABELED, self.margin, self.scale)
        return dict(zip(self.loss_terms, terms, strict=True))

    def decode(self, outputs):
        return {"embedding": ops.cast(outputs, "float32")}
