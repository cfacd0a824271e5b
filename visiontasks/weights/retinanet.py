"""Which tensor of torchvision's RetinaNet checkpoints is which weight of a VisionModel of `resnet50` and `retinanet`.

The head's defaults make it torchvision's network. The published file, retinanet_resnet50_fpn_coco-eeacb38b.pth (COCO
AP 36.4 as torchvision published it), has rows for the ids 0 to 90, of which 0 is never used; coco.py picks
those of the classes asked for.
Its backbone is the one below: batch norms that were trained, and are run, frozen and without an epsilon.
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
    """From a module of the checkpoint to the Keras layer: a backbone's by its name, the head's by its path in it.

    An unknown name comes back as it is, for the error.
    """
    # until torchvision 0.13 activations were counted among a tower's modules: 0, 2, 4, 6
    if tower := re.fullmatch(r"head\.(classification|regression)_head\.conv\.(\d)(\.0)?", module):
        return f"{_TOWER[tower[1]]}_conv{int(tower[2]) // (1 if tower[3] else 2)}"
    return _LAST.get(module) or of_pyramid(module)


def of_pyramid(module: str) -> str:
    """The layer of a ResNet or of the feature pyramid on it."""
    if level := re.fullmatch(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)(\.0)?", module):
        return f"pyramid/{ {'inner': 'lateral', 'layer': 'output'}[level[1]] }{level[2]}"
    if module.startswith("backbone.body."):
        return resnet.layer_of(module.removeprefix("backbone.body.")) or module
    return module
