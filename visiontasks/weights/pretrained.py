"""`Pretrained`: the pretrained weights of a recipe, decided before anything is built or downloaded.

A backbone's `weights` are "imagenet", a variant of it ("imagenet:v1"), or a file. A recipe's `weights` are for backbone
and head together: "coco", or a file, of torchvision's or of EfficientPose. A `classifier` with `classes: imagenet`
takes the checkpoint's classification layers.
"""

import dataclasses
from collections.abc import Iterable

from visiontasks.skeleton import Skeleton
from visiontasks.weights import coco, efficientpose

IMAGENET, COCO = "imagenet", "coco"


def is_imagenet(weights) -> bool:
    """Whether a backbone's `weights` are published ImageNet weights of any variant."""
    return isinstance(weights, str) and weights.partition(":")[0] == IMAGENET


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """The weights that a recipe's parts start from.

    Args:
        weights: of backbone and head together: "coco", a file, or None.
        backbone: the backbone, {name: NAME, its arguments}.
        heads: {key: {name: NAME, its arguments}}.

    Raises:
        RecipeError: `weights` are invalid, or not for these parts.
    """

    weights: str | None
    backbone: dict
    heads: dict[str, dict]

    def __post_init__(self):
        if self._is_efficientpose:
            efficientpose.check(self.weights, self.heads)
        elif self.weights is not None:
            coco.find(self.weights, self.backbone, self.heads)

    @property
    def _is_efficientpose(self) -> bool:
        return self.weights is not None and self.backbone["name"].startswith("efficientpose")

    @property
    def complete(self) -> bool:
        """Whether all weights are pretrained, so that the model can predict without training."""
        return all(self._knows(head.get("classes")) for head in self.heads.values())

    def _knows(self, classes) -> bool:
        if self.weights is None:
            return self.backbone.get("weights") is not None and classes == IMAGENET
        own = self._own_classes
        if own is None:  # a file has the head's classes
            return classes is not None
        return classes is None or isinstance(classes, Iterable) and set(classes) <= set(own)

    @property
    def _own_classes(self) -> tuple[str, ...] | None:
        """The classes of a whole checkpoint; None if it does not tell them."""
        if self._is_efficientpose:
            return efficientpose.CLASSES
        return coco.classes_of(coco.find(COCO, self.backbone, self.heads)) if self.weights == COCO else None

    @property
    def backbone_arguments(self) -> dict:
        """The backbone's arguments, without `weights` if a whole checkpoint includes them."""
        arguments = {key: value for key, value in self.backbone.items() if key != "name"}
        return arguments if self.weights is None else arguments | {"weights": None}

    def classifier(self, head: str) -> tuple[dict, list]:
        """The arguments and the dense layers for a head with `classes: imagenet`; ({}, []) for any other.

        Raises:
            UserError: the backbone's checkpoint has none, or is not available.
        """
        part = self.heads[head]
        if part.get("classes") != IMAGENET:
            return {}, []
        from visiontasks.weights.imagenet import imagenet_classifier

        return imagenet_classifier(self.backbone["name"], self.backbone.get("weights"), part.get("tap"))

    def class_names(self, head: str) -> tuple[str, ...] | None:
        """The class names of the weights, for a head without classes; None if they have none."""
        return self._own_classes if self.heads[head].get("classes") is None else None

    @property
    def skeleton(self) -> Skeleton | None:
        """That of the weights' keypoints, if it is not a head's default."""
        return efficientpose.MPII_PERSON if self._is_efficientpose else None

    def load(self, model) -> list[str]:
        """Load the whole checkpoint, if there is one, into a VisionModel of these parts; a line for each thing skipped.

        Raises:
            UserError: the file is not available, or does not fit.
        """
        if self.weights is None:
            return []
        if self._is_efficientpose:
            return efficientpose.load(model, self.weights)
        return coco.load(model, coco.find(self.weights, self.backbone, self.heads), self.weights)
