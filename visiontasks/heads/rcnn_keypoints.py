"""`KeypointBranch`: the keypoints of each box, which makes a Faster R-CNN a Keypoint R-CNN."""

import keras
from keras import ops

from visiontasks.arguments import Cells, Channels, Count, Layers, options
from visiontasks.heads.choices import choose_joint, score_joint
from visiontasks.heads.rcnn_branches import ObjectBranch, apply_stack, build_stack, conv_stack
from visiontasks.losses.softmax import cross_entropy
from visiontasks.ops import matching
from visiontasks.ops.heatmaps import cells_in_boxes, doubled
from visiontasks.ops.roi_align import roi_align

Keypoints = options(filters=Channels, layers=Layers, bins=Cells, bin_samples=Cells)  # of a recipe's `keypoints`


class KeypointBranch(ObjectBranch):
    """A heat map of each keypoint on a grid over the box: Keypoint R-CNN's branch.

    He et al. 2017, https://arxiv.org/abs/1703.06870, section 5: convolutions on a grid of features, a transposed
    convolution to twice its size with a map for each keypoint, and interpolation to twice that. A keypoint is one cell
    of S × S, S = 4 · bins: the loss is the cross-entropy of a softmax over the cells. It learns the labeled keypoints,
    visible or not, that lie inside the sample's box.

    Outputs are logits float32 (B, N, S / 2, S / 2, K), before the interpolation. Predictions are these as
    `keypoint_maps`; visiontasks/inference/keypoint_maps.py makes points of them.

    Args:
        points: number of keypoints, K.
        filters: of each convolution.
        layers: number of convolutions before the transposed one.
        bins: features per row and column of a box.
        bin_samples: points per row and column of a bin.
    """

    fields = ("keypoints",)
    loss_terms = ("keypoints",)
    explains = "joint"

    def __init__(
        self,
        points: Count,
        filters: Channels = 512,
        layers: Layers = 8,
        bins: Cells = 14,
        bin_samples: Cells = 2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.bins, self.bin_samples = bins, bin_samples
        self.convs, _ = conv_stack(layers, filters, False, self.dtype_policy)
        spread = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
        # float32 whatever the policy, because exponentials of the outputs follow
        self.maps = keras.layers.Conv2DTranspose(
            points, 4, 2, padding="same", kernel_initializer=spread, name="maps", dtype="float32"
        )

    def build(self, pyramid_shape, boxes_shape):
        (channels,) = {shape[-1] for shape in pyramid_shape.values()}
        self.maps.build(build_stack(self.convs, self.norms, (None, self.bins, self.bins, channels)))

    def outputs_of(self, training, learns, pyramid, boxes, images, classes):
        """Raw outputs of R boxes (R, 4) in these rows of the batch, int32 (R,): logits (R, S / 2, S / 2, K)."""
        x = roi_align(pyramid, boxes, self.bins, self.bin_samples, images)
        return self.maps(apply_stack(self.convs, self.norms, x, None, training))

    def compute_losses(self, outputs, samples, targets):
        _, count, _, size, points = outputs.shape
        logits = doubled(ops.reshape(outputs, (-1, size, size, points)))
        logits = ops.reshape(ops.transpose(logits, (0, 3, 1, 2)), (-1, count, points, 4 * size * size))
        keypoints = ops.cast(targets["keypoints"], "float32")
        keypoints = matching.take(ops.reshape(keypoints, (-1, keypoints.shape[1], points * 3)), samples["matches"])
        keypoints = ops.reshape(keypoints, (-1, count, points, 3))
        cells, inside = cells_in_boxes(keypoints[..., :2], samples["boxes"], 2 * size)
        learned = ops.logical_and(inside, keypoints[..., 2] > 0)
        learned = ops.logical_and(learned, ops.expand_dims(samples["labels"] > 0, -1))
        return {"keypoints": cross_entropy(cells, logits, learned)}

    def decode(self, outputs, detections):
        valid = ops.reshape(detections["valid"], (-1, outputs.shape[1], 1, 1, 1))
        return {"keypoint_maps": ops.where(valid, outputs, 0.0)}

    def choose(self, pyramid, choice, number):
        found = choose_joint(self._of(pyramid, choice), choice.kind, number, None, 1.0)
        return choice._replace(number=found.number, cells=found.cells)

    def score(self, pyramid, choice):
        return score_joint(self._of(pyramid, choice), choice)

    def _of(self, pyramid, choice):
        # its maps are those of any object
        return self(pyramid, ops.expand_dims(choice.box, 1), ops.zeros_like(choice.number)[:, None])[:, 0]
