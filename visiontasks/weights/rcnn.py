"""Maps the tensors of torchvision's Faster R-CNN checkpoints to the weights of a VisionModel of `resnet50` and `rcnn`.

The head's default arguments give torchvision's network. The published file, fasterrcnn_resnet50_fpn_coco-258fb6c6.pth
(COCO AP 37.0, published by torchvision), has rows for the background and for COCO's ids 1 to 90; coco.py selects the
rows of the wanted classes. Its backbone has frozen batch norms without epsilon, as set below.
"""

from visiontasks.weights import retinanet

HEAD = {"levels": ["C2", "C3", "C4", "C5"]}
PUBLISHED_BACKBONE = retinanet.PUBLISHED_BACKBONE
# PyTorch flattens the features of a box by channel first
GRIDS = {"roi_heads.box_head.fc6": (7, 7)}

_LAYERS = {
    "rpn.head.conv.0.0": "region_proposals/conv",
    "rpn.head.conv": "region_proposals/conv",  # until torchvision 0.13
    "rpn.head.cls_logits": "region_proposals/objectness",
    "rpn.head.bbox_pred": "region_proposals/boxes",
    "roi_heads.box_head.fc6": "boxes/fc6",
    "roi_heads.box_head.fc7": "boxes/fc7",
    "roi_heads.box_predictor.cls_score": "boxes/classes",
    "roi_heads.box_predictor.bbox_pred": "boxes/boxes",
}


def layer_of(module: str) -> str:
    """The Keras layer of a module in the checkpoint: a backbone's layer by name, a head's by its path in the head.

    An unknown name is returned unchanged, for the error.
    """
    return _LAYERS.get(module) or retinanet.of_pyramid(module)
