"""Keypoint R-CNN: Faster R-CNN with the keypoints of each object."""

from visiontasks.arguments import Classes
from visiontasks.heads.rcnn import RCNN
from visiontasks.heads.rcnn_keypoints import Keypoints


class KeypointRCNN(RCNN):
    """Pose of several people: Faster R-CNN's boxes, and keypoints in each. Short for `rcnn` with `keypoints`.

    He et al. 2017, https://arxiv.org/abs/1703.06870, section 5. On `resnet50` it equals torchvision's
    keypointrcnn_resnet50_fpn; see weights/rcnn.py. Its arguments are those of `rcnn`.

    Args:
        keypoints: as those of `rcnn`; None for their defaults.
    """

    task = "pose"
    fields = ("classes", "boxes", "keypoints")
    tasks_with = {"mask": "posed_instances"}

    def __init__(self, classes: Classes, keypoints: Keypoints | None = None, **kwargs):
        super().__init__(classes, keypoints=keypoints or {}, **kwargs)
