"""Grad-CAM computed by PyTorch itself on torchvision's resnet18, for a comparison with ours. Needs torch, torchvision.

    /usr/bin/python3 scripts/parity/grad_cam.py FOLDER [resnet18]

It writes FOLDER/resnet18.pth and FOLDER/resnet18.npz as torchvision_backbones.py does, and FOLDER/grad_cam.npz:
`images` uint8 (2, 97, 130, 3), `classes` (2,), the classes of the highest logits, of the level C5 the
`weights` of equation 1 (2, C), and the map of equation 2 (2, h, w) before interpolation.
tests/explain/test_explain_torchvision.py compares ours with it.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from torchvision_backbones import MEAN, MODELS, STD, reference

NAME = "resnet18"


def grad_cam(model, module, inputs):
    """(classes, weights, map) by hooks and `backward`, as the paper's equations 1 and 2 say."""
    kept = {}
    forward = module.register_forward_hook(lambda m, args, output: kept.update(features=output))
    logits = model(inputs)
    forward.remove()
    classes = logits.argmax(dim=1)
    total = logits.gather(1, classes[:, None]).sum()
    (slopes,) = torch.autograd.grad(total, kept["features"])
    weights = slopes.mean(dim=(2, 3))
    found = torch.relu((weights[:, :, None, None] * kept["features"]).sum(dim=1))
    return classes, weights, found.detach()


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    reference(NAME, folder)
    model = getattr(torchvision.models, NAME)(weights=None)
    model.load_state_dict(torch.load(folder / f"{NAME}.pth"))
    model.eval()
    images = np.load(folder / f"{NAME}.npz")["images"]
    inputs = ((torch.from_numpy(images).float() / 255 - MEAN) / STD).permute(0, 3, 1, 2).contiguous()
    module = dict(model.named_modules())[MODELS[NAME][2]["C5"]]
    classes, weights, found = grad_cam(model, module, inputs)
    np.savez(folder / "grad_cam.npz", images=images, classes=classes, weights=weights.detach(), map=found)


if __name__ == "__main__":
    main()
