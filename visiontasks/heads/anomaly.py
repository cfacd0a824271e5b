"""Anomalies: what no normal image has, detected by statistics of a pretrained backbone's features."""

import math
from collections.abc import Iterable
from typing import Literal

import keras
from keras import ops

from visiontasks.arguments import Chance, Classes, Count, Levels, NonNegative, Positive, Seed, Share, between
from visiontasks.heads.head import Head
from visiontasks.layers.memory_bank import MemoryBank
from visiontasks.layers.patch_gaussians import PatchGaussians
from visiontasks.ops.resizing import fit_to
from visiontasks.taps import levels_among

# by method: the strides of the levels that it uses by default, as its paper does
STRIDES = {"padim": (4, 16), "patchcore": (8, 16)}


class Anomaly(Head):
    """Anomalies, learned from normal images alone: PaDiM or PatchCore on any backbone, without gradients.

    padim: a Gaussian of the features at each position, for objects and surfaces that always lie in the same way (Defard
    et al. 2020, https://arxiv.org/abs/2011.08785). patchcore: a memory of normal patches, wherever they lie (Roth et
    al. 2021, https://arxiv.org/abs/2106.08265). Coarser levels are resized bilinearly to the finest one.

    Learns from `label`: of images of the first class, such as good; all others are anomalous. `mask`, 0 where a pixel
    is normal, serves for the scores of pixels if the data have it. Raw outputs are distances, {"map": float32
    (B, H, W), "score": float32 (B,)}. They decode to the same names in units of their thresholds: from 1 on an image,
    or a pixel, is anomalous.

    Args:
        classes: names of the classes, or their number; the first one is normal.
        method: padim or patchcore.
        levels: the backbone's levels to use; by default those of stride 4 to 16, of patchcore 8 to 16, or all if there
            are none of these.
        components: padim: random dimensions of all levels' features that are used; its memory grows with the square.
            patchcore: dimensions of the random projection in which the memory is chosen.
        regularization: padim: added to the diagonal of each covariance.
        memory: patchcore: patches that it remembers.
        neighbors: patchcore: patches of the memory that an image's score is weighted by, 2 or more.
        smoothing: standard deviation of the Gaussian that smooths maps, in pixels of the network's canvas; 0: none.
        quantile: of the scores of normal images, which is the threshold; 1: the largest.
        held_out: share of the normal images that do not enter the statistics and give the threshold. Scores of images
            that do are too small. 0, or if there are too few images: the threshold is that of the first batch.
        seed: of the random dimensions and of what patchcore draws.
    """

    task = "anomaly"
    fields = ("label",)
    scoring_fields = ("mask",)
    by_gradients = False
    divisible = False  # every level is resized to the finest one
    any_size = False
    loss_terms = ()

    def __init__(
        self,
        classes: Classes,
        method: Literal["padim", "patchcore"] = "padim",
        levels: Levels | None = None,
        components: Count = 50,
        regularization: Positive = 0.01,
        memory: Count = 1000,
        neighbors: between(2, kind=int) = 9,
        smoothing: NonNegative = 4.0,
        quantile: Chance = 0.99,
        held_out: Share = 0.2,
        seed: Seed = 0,
        **kwargs,
    ):
        super().__init__(classes, **kwargs)
        self.method, self.levels, self.components, self.smoothing = method, levels, components, smoothing
        self.quantile, self.held_out, self.seed = quantile, held_out, seed
        if method == "padim":
            self.normality = PatchGaussians(regularization, name="gaussians")
        else:
            self.normality = MemoryBank(memory, neighbors, components, seed, name="memory")

    def taps(self, available):
        low, high = STRIDES[self.method]
        levels = [tap.name for tap in available.values() if tap.name != "image" and low <= (tap.stride or 0) <= high]
        return (*(self.levels or levels or [tap.name for tap in levels_among(available, self.name)]), "image")

    def build(self, taps):
        super().build(taps)
        self.grid, self.stride, self.image_size = self.tapped[0].size, self.tapped[0].stride, taps["image"].size
        if None in (*self.grid, *self.image_size):
            raise ValueError(f"{self.name}: needs a known image size; give the backbone one.")
        channels = sum(tap.channels for tap in self.tapped)

        def drawn(shape, dtype=None):
            return ops.cast(keras.random.shuffle(ops.arange(channels), seed=self.seed)[: shape[0]], dtype)

        used = min(self.components, channels) if self.method == "padim" else channels
        if self.method == "padim":
            self.dimensions = self.add_weight(
                shape=(used,), initializer=drawn, dtype="int32", trainable=False, name="dimensions"
            )
        self.normality.build((None, *self.grid, used))
        self.thresholds = self.add_weight(
            shape=(2,), initializer="ones", dtype="float32", trainable=False, autocast=False, name="thresholds"
        )

    def call(self, features, training=None):
        return self._distances(self._embedding(features))

    def _embedding(self, features):
        """All levels' features at each position of the finest one, float32 (B, h, w, d)."""
        maps = []
        for tap in self.tapped:
            x = ops.cast(features[tap.name], "float32")
            if self.method == "patchcore":
                x = ops.average_pool(x, 3, strides=1, padding="same", data_format="channels_last")
            maps.append(fit_to(x, self.grid, tap.stride // self.stride))
        x = ops.concatenate(maps, axis=-1)
        return ops.take(x, self.dimensions, axis=-1) if self.method == "padim" else x

    def _distances(self, x):
        distances = self.normality(x)
        resized = fit_to(distances[..., None], self.image_size, self.stride)
        rows, columns = (_smoothing(length, self.smoothing) for length in self.image_size)
        smoothed = ops.matmul(ops.matmul(rows, resized[..., 0]), ops.transpose(columns))
        if self.method == "padim":
            return {"map": smoothed, "score": ops.max(smoothed, axis=(1, 2))}
        return {"map": smoothed, "score": self.normality.weight(x, distances) * ops.max(distances, axis=(1, 2))}

    def adapt(self, batches: Iterable[dict]):
        """Fit the statistics to features of normal images, and then the thresholds to the held-out images."""
        split = _Split((self._embedding(features) for features in batches), self.held_out)
        self.normality.fit(split)
        distances = [self._distances(x) for x in split.held_out or split.first]
        scores = ops.concatenate([one["score"] for one in distances])
        peaks = ops.concatenate([ops.max(one["map"], axis=(1, 2)) for one in distances])
        thresholds = [ops.quantile(values, self.quantile) for values in (scores, peaks)]
        # of images that are all alike every distance may be 0
        self.thresholds.assign(ops.maximum(ops.stack(thresholds), keras.config.epsilon()))

    def compute_losses(self, targets, outputs, training=True):
        return {}

    def decode(self, outputs):
        score, peak = ops.unstack(ops.convert_to_tensor(self.thresholds), 2)
        return {"map": outputs["map"] / peak, "score": outputs["score"] / score}


class _Split:
    """Batches without a share of their images, spread evenly; to be read once.

    Attributes:
        held_out: that share, a list of batches.
        first: the first batch of the others, in a list; empty if there is none.
    """

    def __init__(self, batches, share):
        self.batches, self.share, self.held_out, self.first = batches, share, [], []

    def __iter__(self):
        number = 0
        for x in self.batches:
            parts = [], []
            for row in range(x.shape[0]):
                held = math.floor((number + 1) * self.share) > math.floor(number * self.share)
                parts[held].append(row)
                number += 1
            kept, held_out = (ops.take(x, ops.convert_to_tensor(rows, dtype="int32"), axis=0) for rows in parts)
            if parts[True]:
                self.held_out.append(held_out)
            if parts[False]:
                self.first = self.first or [kept]
                yield kept


def _smoothing(length, sigma):
    """The matrix (length, length) that smooths with a Gaussian; near borders by the weights that are inside."""
    if not sigma:
        return ops.eye(length)
    positions = ops.arange(length, dtype="float32")
    weights = ops.exp(-ops.square((positions[:, None] - positions) / sigma) / 2)
    return weights / ops.sum(weights, axis=1, keepdims=True)
