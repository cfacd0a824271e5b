"""Maps the tensors of torchvision's R-CNN checkpoints to the weights of a VisionModel of `resnet50` and `rcnn`.

The head's default arguments give torchvision's networks, Faster R-CNN, with `mask` Mask R-CNN, and with `keypoints`
Keypoint R-CNN. The published files, fasterrcnn_resnet50_fpn_coco-258fb6c6.pth (COCO AP 37.0, published by torchvision)
and maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth (37.9, masks 34.6), have rows for the background and for COCO's ids 1 to 90;
coco.py selects the rows of the wanted classes. keypointrcnn_resnet50_fpn_coco-fc266e95.pth (54.6, keypoints 65.0) has
one class, person. Their backbones have frozen batch norms without epsilon, as set below.
"""

import re

from visiontasks.weights import retinanet

HEAD = {"levels": ["C2", "C3", "C4", "C5"]}
PUBLISHED_BACKBONE = retinanet.PUBLISHED_BACKBONE
# PyTorch flattens the features of a box by channel first
GRIDS = {"roi_heads.box_head.fc6": (7, 7)}

# maskrcnn_resnet50_fpn_v2 and fasterrcnn_resnet50_fpn_v2, of which the backbone's batch norms are trained
HEAD_V2 = HEAD | {"batch_norm": True, "proposal_layers": 2, "box_layers": 4, "dense_layers": 1}
GRIDS_V2 = {"roi_heads.box_head.5": (7, 7)}

# the keypoint branch of keypointrcnn_resnet50_fpn
KEYPOINTS = {"filters": 512, "layers": 8, "bins": 14, "bin_samples": 2}

# the mask branch of maskrcnn_resnet50_fpn; that of the second form has batch norms
MASK = {"filters": 256, "layers": 4, "bins": 14, "bin_samples": 2, "batch_norm": False, "agnostic": False}

_LAYERS = {
    "rpn.head.conv.0.0": "region_proposals/conv",
    "rpn.head.conv.1.0": "region_proposals/conv1",
    "roi_heads.box_head.5": "boxes/fc6",
    "rpn.head.conv": "region_proposals/conv",  # until torchvision 0.13
    "rpn.head.cls_logits": "region_proposals/objectness",
    "rpn.head.bbox_pred": "region_proposals/boxes",
    "roi_heads.box_head.fc6": "boxes/fc6",
    "roi_heads.box_head.fc7": "boxes/fc7",
    "roi_heads.box_predictor.cls_score": "boxes/classes",
    "roi_heads.box_predictor.bbox_pred": "boxes/boxes",
    "roi_heads.mask_predictor.conv5_mask": "masks/upsample",
    "roi_heads.mask_predictor.mask_fcn_logits": "masks/logits",
    "roi_heads.keypoint_predictor.kps_score_lowres": "keypoints/maps",
}


def layer_of(module: str) -> str:
    """The Keras layer of a module in the checkpoint: a backbone's layer by name, a head's by its path in the head.

    An unknown name is returned unchanged, for the error.
    """
    if norm := re.fullmatch(r"roi_heads\.(box|mask)_head\.(\d)\.([01])", module):
        branch, layer = {"box": "boxes", "mask": "masks"}[norm[1]], ("conv", "bn")[int(norm[3])]
        return f"{branch}/{layer}{int(norm[2]) + 1}"
    if conv := re.fullmatch(r"roi_heads\.mask_head\.mask_fcn(\d)", module):  # until torchvision 0.13
        return f"masks/conv{conv[1]}"
    if conv := re.fullmatch(r"roi_heads\.keypoint_head\.(\d+)", module):  # every other one is an activation
        return f"keypoints/conv{int(conv[1]) // 2 + 1}"
    return _LAYERS.get(module) or retinanet.of_pyramid(module)
