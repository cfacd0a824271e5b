"""`MaskBranch`: the mask of each box, which makes a Faster R-CNN a Mask R-CNN."""

import functools

import keras
from keras import ops

from visiontasks.arguments import Cells, Channels, Count, MoreLayers, between, options
from visiontasks.heads.choices import mean_over, peaks
from visiontasks.heads.rcnn_branches import ObjectBranch, apply_stack, build_stack, conv_stack
from visiontasks.instance_masks import NO_MASK
from visiontasks.losses.sigmoid import binary_cross_entropy
from visiontasks.ops import matching
from visiontasks.ops.masks import mask_targets
from visiontasks.ops.roi_align import roi_align

# of a recipe's `mask`: the branch's, and those of rcnn_points.py, whose branch it is with one of these
Mask = options(
    filters=Channels,
    layers=MoreLayers,
    bins=Cells,
    bin_samples=Cells,
    batch_norm=bool,
    agnostic=bool,
    refine=between(1, 6, int),
    points=Count,
)


def of_class(x, kernel, bias, columns):
    """A column of a dense layer for each row: (R, P, C), and (C, K), of which int32 (R,) chooses, to float32 (R, P)."""
    # a product with one-hot rows: the gradient of a gather would add up in an order that changes
    chosen = ops.one_hot(columns, kernel.shape[-1], dtype="float32")
    kernel = ops.expand_dims(ops.matmul(chosen, ops.transpose(ops.convert_to_tensor(kernel))), -1)
    bias = ops.matmul(chosen, ops.expand_dims(ops.convert_to_tensor(bias), -1))
    return ops.squeeze(ops.matmul(ops.cast(x, "float32"), kernel), -1) + bias


class MaskBranch(ObjectBranch):
    """A mask of each box for its class, on a grid over the box: Mask R-CNN's branch.

    He et al. 2017, https://arxiv.org/abs/1703.06870, section 3 and figure 4, right: convolutions on a grid of features,
    a transposed convolution to twice its size, and a mask for each class, of which the class of the box selects one.
    It learns from the samples with an object that has a mask; a target is the share of a cell that the mask covers.

    Outputs are logits float32 (B, N, S, S), S = 2 · bins, of each box for its class. The last convolution is computed
    for that class alone: for all of them it would take the most memory of the head. Predictions are `masks`, float32
    (B, D, S, S), the probability of each cell of a box. visiontasks/inference/pasting.py makes pixels of them.

    Args:
        classes: number of classes, C.
        filters: of each convolution.
        layers: number of convolutions before the transposed one.
        bins: features per row and column of a box.
        bin_samples: points per row and column of a bin.
        batch_norm: normalize after each of those convolutions, which then have no bias.
        agnostic: one mask for all classes.
    """

    fields = ("instance_masks",)
    loss_terms = ("mask",)
    explains = "mask"

    def __init__(
        self,
        classes: Count,
        filters: Channels = 256,
        layers: MoreLayers = 4,
        bins: Cells = 14,
        bin_samples: Cells = 2,
        batch_norm: bool = False,
        agnostic: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.bins, self.bin_samples, self.agnostic = bins, bin_samples, agnostic
        half = {"dtype": self.dtype_policy}
        self.convs, self.norms = conv_stack(layers, filters, batch_norm, self.dtype_policy)
        spread = functools.partial(keras.initializers.VarianceScaling, 2.0, "fan_out", "untruncated_normal")
        self.upsample = keras.layers.Conv2DTranspose(
            filters, 2, 2, activation="relu", kernel_initializer=spread(), name="upsample", **half
        )
        # float32 whatever the policy, because exponentials of the outputs follow; the first of the classes' masks is
        # the background's, which nothing uses, as in torchvision's files
        columns = 1 if agnostic else classes + 1
        self.logits = keras.layers.Conv2D(columns, 1, kernel_initializer=spread(), name="logits", dtype="float32")

    def build(self, pyramid_shape, boxes_shape):
        (channels,) = {shape[-1] for shape in pyramid_shape.values()}
        self.upsample.build(build_stack(self.convs, self.norms, (None, self.bins, self.bins, channels)))
        self.logits.build((None, 2 * self.bins, 2 * self.bins, self.upsample.filters))

    def outputs_of(self, training, learns, pyramid, boxes, images, classes):
        """Raw outputs of R boxes (R, 4) in these rows of the batch, int32 (R,): logits (R, S, S)."""
        x = roi_align(pyramid, boxes, self.bins, self.bin_samples, images)
        x = apply_stack(self.convs, self.norms, x, classes >= 0, training)
        x = self.upsample(x)
        cells = 2 * self.bins
        x = ops.reshape(x, (-1, cells * cells, x.shape[-1]))
        kernel = ops.convert_to_tensor(self.logits.kernel)[0, 0]
        x = of_class(x, kernel, self.logits.bias, ops.zeros_like(classes) if self.agnostic else classes + 1)
        return ops.reshape(x, (-1, cells, cells))

    def crops_of(self, samples, targets):
        """The crop of each sample's object, uint8 (B, N, M, M), and whether the sample learns a mask, bool (B, N)."""
        masks = targets["instance_masks"]
        crops = matching.take(
            ops.reshape(masks, (-1, masks.shape[1], masks.shape[2] * masks.shape[3])), samples["matches"]
        )
        learned = ops.logical_and(samples["labels"] > 0, crops[..., 0] != NO_MASK)
        return ops.reshape(crops, (-1, crops.shape[1], *masks.shape[2:])), learned

    def compute_losses(self, outputs, samples, targets):
        crops, learned = self.crops_of(samples, targets)
        wanted = mask_targets(crops, samples["targets"], samples["boxes"], outputs.shape[-1])
        learned = ops.broadcast_to(ops.reshape(learned, (-1, learned.shape[1], 1, 1)), ops.shape(outputs))
        return {"mask": binary_cross_entropy(wanted, outputs, learned)}

    def decode(self, outputs, detections):
        valid = ops.reshape(detections["valid"], (-1, outputs.shape[1], 1, 1))
        return {"masks": ops.where(valid, ops.sigmoid(outputs), 0.0)}

    def coarse(self, pyramid, boxes, classes):
        """The mask's logits on the grid of the branch's convolutions: (B, N, S, S)."""
        return self(pyramid, boxes, classes, training=False)

    def choose(self, pyramid, choice, number):
        """The cells that are predicted as the object's; where there are none, the likeliest."""
        logits = self._of(pyramid, choice)
        predicted = logits > 0
        return choice._replace(
            cells=ops.where(ops.any(predicted, axis=(1, 2), keepdims=True), predicted, peaks(logits))
        )

    def score(self, pyramid, choice):
        return mean_over(self._of(pyramid, choice), choice.cells)

    def _of(self, pyramid, choice):
        return self.coarse(pyramid, ops.expand_dims(choice.box, 1), ops.expand_dims(choice.number, 1))[:, 0]
