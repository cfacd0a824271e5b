"""What torchvision's box operations answer, for a comparison with ours. Needs torch and torchvision alone.

    /usr/bin/python3 scripts/parity/torchvision_ops.py FOLDER ops

writes FOLDER/ops.npz: `boxes` (60, 4), `scores`, `others` and what suppression, overlaps, anchors and ROI align give.
"""

import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torchvision import ops
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

SIDES = ((32, 64), (64,), (128,), (256,))


def boxes(count, side=300):
    corners = torch.rand(count, 2) * side * 0.7
    return torch.cat([corners, corners + 2 + torch.rand(count, 2) * side * 0.5], dim=1)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    a, b = boxes(60), boxes(60)
    scores, classes = torch.rand(60), torch.randint(0, 3, (60,))
    found = {"boxes": a, "others": b, "scores": scores, "classes": classes}
    for threshold in (0.2, 0.5, 0.8):
        found[f"nms{threshold}"] = ops.nms(a, scores, threshold)
        found[f"batched_nms{threshold}"] = ops.batched_nms(a, scores, classes, threshold)
    for kind in ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou"):
        found[kind] = getattr(ops, kind)(a, b)

    # an image of 256 by 320 with levels of stride 4 to 32
    pyramid = OrderedDict((str(n), torch.randn(2, 8, 256 // 2**n, 320 // 2**n)) for n in (2, 3, 4, 5))
    proposals = [boxes(30, 400), boxes(30, 100)]
    pool = ops.MultiScaleRoIAlign(list(pyramid), output_size=7, sampling_ratio=2)
    found["proposals"] = torch.stack(proposals)
    found["pooled"] = pool(pyramid, proposals, [(256, 320)] * 2).reshape(2, 30, 8, 7, 7)
    found |= {f"level{n}": features for n, features in pyramid.items()}

    anchors = AnchorGenerator(SIDES, ((0.5, 1.0, 2.0),) * 4)
    images = ImageList(torch.zeros(1, 3, 250, 330), [(250, 330)])
    grids = [torch.zeros(1, 1, -(-250 // 2**n), -(-330 // 2**n)) for n in (2, 3, 4, 5)]
    found["anchors"] = anchors(images, grids)[0]
    np.savez(folder / "ops.npz", **{key: value.numpy() for key, value in found.items()})


if __name__ == "__main__":
    main()
