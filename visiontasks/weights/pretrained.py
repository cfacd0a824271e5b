"""Which pretrained weights a recipe means: answered once, from its words, before anything is built or downloaded.

A backbone's `weights` are "imagenet", a variant of it ("imagenet:v1"), or a file. The recipe's own `weights` give
backbone and head together: "coco", or a file. A `classifier` with `classes: imagenet` takes a checkpoint's own
classification layers.
"""

import dataclasses
from collections.abc import Iterable

from visiontasks.weights import coco

IMAGENET, COCO = "imagenet", "coco"


def is_imagenet(weights) -> bool:
    """Whether a backbone's `weights` are published ones of ImageNet, of whatever variant."""
    return isinstance(weights, str) and weights.partition(":")[0] == IMAGENET


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """The weights that a recipe's parts start from.

    Args:
        weights: what gives backbone and head together: "coco", a file, or None.
        backbone: the backbone, {name: NAME, its arguments}.
        heads: {key: {name: NAME, its arguments}}.

    Raises:
        RecipeError: `weights` are none, or not for these parts.
    """

    weights: str | None
    backbone: dict
    heads: dict[str, dict]

    def __post_init__(self):
        if self.weights is not None:
            coco.find(self.weights, self.backbone, self.heads)

    @property
    def complete(self) -> bool:
        """Whether all weights are given, the last layers' too, so that the model predicts without training."""
        return all(self._knows(head.get("classes")) for head in self.heads.values())

    def _knows(self, classes) -> bool:
        if self.weights is None:
            return self.backbone.get("weights") is not None and classes == IMAGENET
        if self.weights != COCO:  # a file is of the head's own classes
            return classes is not None
        return classes is None or isinstance(classes, Iterable) and set(classes) <= coco.class_ids().keys()

    @property
    def backbone_arguments(self) -> dict:
        """The backbone's arguments; without weights of its own where a whole checkpoint brings them."""
        arguments = {key: value for key, value in self.backbone.items() if key != "name"}
        return arguments if self.weights is None else arguments | {"weights": None}

    def classifier(self, head: str) -> tuple[dict, list]:
        """The arguments and the dense layers that a head with `classes: imagenet` takes; ({}, []) of any other.

        Raises:
            UserError: the backbone's checkpoint has none, or cannot be had.
        """
        part = self.heads[head]
        if part.get("classes") != IMAGENET:
            return {}, []
        from visiontasks.weights.imagenet import imagenet_classifier

        return imagenet_classifier(self.backbone["name"], self.backbone.get("weights"), part.get("tap"))

    def class_names(self, head: str) -> tuple[str, ...] | None:
        """The class names that come with the weights, for a head that says none; None where none do."""
        return tuple(coco.class_ids()) if self.weights == COCO and self.heads[head].get("classes") is None else None

    def load(self, model) -> list[str]:
        """Give a VisionModel of these parts the whole checkpoint, if there is one; a line for each thing not taken.

        Raises:
            UserError: the file cannot be had, or does not fit.
        """
        if self.weights is None:
            return []
        return coco.load(model, coco.find(self.weights, self.backbone, self.heads), self.weights)
