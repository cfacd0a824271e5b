"""Mask R-CNN: Faster R-CNN with a mask of each object."""

from visiontasks.arguments import Classes
from visiontasks.heads.rcnn import RCNN
from visiontasks.heads.rcnn_masks import Mask


class MaskRCNN(RCNN):
    """Instance segmentation: the boxes of Faster R-CNN, and a mask in each. Short for `rcnn` with its argument `mask`.

    He et al. 2017, https://arxiv.org/abs/1703.06870. On `resnet50` it equals torchvision's maskrcnn_resnet50_fpn; see
    weights/rcnn.py. Its arguments are those of `rcnn`.

    Args:
        mask: as that of `rcnn`; None for its defaults.
    """

    task = "instances"
    fields = ("classes", "boxes", "instance_masks")

    def __init__(self, classes: Classes, mask: Mask | None = None, **kwargs):
        super().__init__(classes, mask=mask or {}, **kwargs)
