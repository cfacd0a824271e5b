"""What torchvision's detectors answer, for a comparison with ours. Needs torch and torchvision alone.

    /usr/bin/python3 scripts/parity/torchvision_detection.py FOLDER MODEL [MODEL …]

For each model it writes FOLDER/MODEL.pth, seeded random weights, and FOLDER/MODEL.npz: `images` uint8 (2, H, W, 3),
targets as `boxes` (2, G, 4) and `classes` (2, G) from 0, raw answers, `final_boxes0`, `final_scores0`, `final_classes0`
(of picture 0, and so on), `loss_…` of each term and `grad_…` of some weights.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from torchvision_backbones import pictures

CLASSES = 4  # beside the background


def spread(model, scale):
    """Weights that keep the size of what passes, so that answers differ from cell to cell."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            module.weight.data -= module.weight.mean((1, 2, 3), keepdim=True)
            torch.nn.init.normal_(module.bias, std=0.1)
    for module in scale:
        module.weight.data *= 0.08


def ssd300_vgg16():
    model = torchvision.models.detection.ssd300_vgg16(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, trainable_backbone_layers=5
    )
    spread(model, [m for m in model.head.modules() if isinstance(m, torch.nn.Conv2d)])
    return model, (300, 300)


MODELS = {"ssd300_vgg16": ssd300_vgg16}


def targets(height, width):
    """Boxes of the sizes of every level, the same number for each picture: [(boxes (G, 4), classes (G,))]."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(2):
        sides = np.array([0.07, 0.1, 0.2, 0.35, 0.6, 0.9])[:, None] * rng.uniform(0.9, 1.1, (6, 2))
        corners = rng.random((6, 2)) * (1 - sides)
        boxes = np.concatenate([corners, corners + sides], axis=1) * [width, height, width, height]
        found.append((boxes.astype(np.float32), rng.integers(0, CLASSES, 6)))
    return found


def reference(name, folder):
    model, (height, width) = MODELS[name]()
    images = pictures(height, width)[:2] // 2 + 64  # no plateaus of 0 or 255, where a pool has no single largest pixel
    inputs = [torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images]
    truth = targets(height, width)
    torch.save(model.state_dict(), folder / f"{name}.pth")
    arrays = {"images": images, "boxes": np.stack([b for b, _ in truth]), "classes": np.stack([c for _, c in truth])}

    raw = {}
    model.head.register_forward_hook(lambda m, args, out: raw.update(out))
    anchors = []
    model.anchor_generator.register_forward_hook(lambda m, args, out: anchors.append(out[0]))
    model.eval()
    with torch.no_grad():
        found = model(inputs)
    arrays |= {f"raw_{key}": value.detach().numpy() for key, value in raw.items()}
    arrays["anchors"] = anchors[0].numpy()
    for i, one in enumerate(found):
        arrays |= {f"final_boxes{i}": one["boxes"].numpy(), f"final_scores{i}": one["scores"].numpy()}
        arrays[f"final_classes{i}"] = one["labels"].numpy() - 1

    model.train()
    labels = [{"boxes": torch.from_numpy(b), "labels": torch.from_numpy(c) + 1} for b, c in truth]
    losses = model(inputs, labels)
    sum(losses.values()).backward()
    arrays |= {f"loss_{key}": value.detach().numpy() for key, value in losses.items()}
    for key, parameter in model.named_parameters():
        if key in WATCHED[name]:
            arrays[f"grad_{key}"] = parameter.grad.numpy()
    np.savez(folder / f"{name}.npz", **arrays)


WATCHED = {
    "ssd300_vgg16": (
        "backbone.extra.0.7.1.weight",
        "backbone.scale_weight",
        "backbone.extra.4.2.weight",
        "head.classification_head.module_list.1.bias",
        "head.regression_head.module_list.0.weight",
    )
}


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(MODELS)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        reference(name, folder)
        print(name, flush=True)


if __name__ == "__main__":
    main()
