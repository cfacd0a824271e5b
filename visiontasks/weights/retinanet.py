"""Maps the tensors of torchvision's RetinaNet checkpoints to a VisionModel of `resnet50` and `retinanet`.

The head's default arguments give torchvision's network. The published file, retinanet_resnet50_fpn_coco-eeacb38b.pth
(COCO AP 36.4, published by torchvision), has rows for the ids 0 to 90, of which 0 is never used; coco.py selects the
rows of the wanted classes. Its backbone has frozen batch norms without epsilon, as set below.
"""

import re

from visiontasks.weights import resnet

HEAD = {"levels": ["C3", "C4", "C5"]}
PUBLISHED_BACKBONE = {"norm": "frozen_batch", "epsilon": 0.0}

_LAST = {
    "head.classification_head.cls_logits": "classes",
    "head.regression_head.bbox_reg": "boxes",
    "backbone.fpn.extra_blocks.p6": "pyramid/top0",
    "backbone.fpn.extra_blocks.p7": "pyramid/top1",
}
_TOWER = {"classification": "classes", "regression": "boxes"}


def layer_of(module: str) -> str:
    """The Keras layer of a module in the checkpoint: a backbone's layer by name, a head's by its path in the head.

    An unknown name is returned unchanged, for the error.
    """
    # before torchvision 0.13 activations counted as modules of a tower: 0, 2, 4, 6
    if tower := re.fullmatch(r"head\.(classification|regression)_head\.conv\.(\d)(\.0)?", module):
        return f"{_TOWER[tower[1]]}_conv{int(tower[2]) // (1 if tower[3] else 2)}"
    return _LAST.get(module) or of_pyramid(module)


def of_pyramid(module: str) -> str:
    """The layer of a ResNet or of its feature pyramid."""
    if level := re.fullmatch(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)(\.[01])?", module):
        norm = "_bn" if level[3] == ".1" else ""
        return f"pyramid/{ {'inner': 'lateral', 'layer': 'output'}[level[1]] }{level[2]}{norm}"
    if module.startswith("backbone.body."):
        return resnet.layer_of(module.removeprefix("backbone.body.")) or module
    return module
