"""What instance masks add to reading and augmenting: batches with masks beside the same batches without, in turn.

    python scripts/bench_masks.py [--rounds 7] [--objects 20]

Draws JPEG images of COCO's most usual size, 640×480, each with objects whose outlines are polygons of 12 to 40 corners,
in a COCO file; then the same objects as compressed run lengths. Each image is read, cropped and resized to 320×320 at
random, and flipped. Prints the median ratio of processor seconds, and milliseconds an image.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
from bench_input import draw_images
from pycocotools import mask as coco_mask

from visiontasks.data.load import load_data

SIZE, BATCH, IMAGES = (320, 320), 8, 48
AUGMENT = [
    {"RandomResizedCrop": {"size": list(SIZE), "scale": [0.5, 1.0], "p": 1.0}},
    {"HorizontalFlip": {"p": 0.5}},
]


def outline(rng, height, width) -> list[float]:
    """A rough ellipse of 8 to 30% of the image's size."""
    count = int(rng.integers(12, 41))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radii = rng.uniform(0.04, 0.15, 2) * (width, height) * rng.uniform(0.85, 1.15, (count, 1))
    center = rng.uniform(0.15, 0.85, 2) * (width, height)
    points = center + radii * np.column_stack([np.cos(angles), np.sin(angles)])
    return points.round(2).ravel().tolist()


def annotate(folder: Path, objects: int, runs: bool):
    """A COCO file for the images in a folder."""
    rng, images, annotations = np.random.default_rng(1), [], []
    for number, path in enumerate(sorted(folder.glob("*.jpg")), start=1):
        height, width = cv2.imread(str(path)).shape[:2]
        images.append({"id": number, "file_name": path.name, "height": height, "width": width})
        for _ in range(objects):
            polygon = outline(rng, height, width)
            points = np.reshape(polygon, (-1, 2))
            low, high = points.min(axis=0), points.max(axis=0)
            segmentation = [polygon]
            if runs:
                (one,) = coco_mask.frPyObjects([polygon], height, width)
                segmentation = {"size": one["size"], "counts": one["counts"].decode()}
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0})
            annotations[-1] |= {"bbox": [*low.tolist(), *(high - low).tolist()], "segmentation": segmentation}
    categories = [{"id": 1, "name": "object"}]
    known = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(known))


def timer(folder: Path, fields):
    """A function: processor seconds of an epoch of batches."""
    given = {"source": "coco", "images": str(folder), "annotations": str(folder / "annotations.json")}
    pair = {"train": given, "val": None}
    train, _ = load_data(pair, size=SIZE, batch=BATCH, fields=fields, augment=AUGMENT, workers=0)

    def seconds():
        start = time.process_time()
        for _ in train:
            pass
        return time.process_time() - start

    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--objects", type=int, default=20)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    for runs in (False, True):
        with tempfile.TemporaryDirectory() as name:
            draw_images(Path(name), IMAGES, (480, 640))
            annotate(Path(name), given.objects, runs)
            boxes = ("boxes", "classes")
            plain, masks = timer(Path(name), boxes), timer(Path(name), (*boxes, "instance_masks"))
            pairs = [(plain(), masks()) for _ in range(given.rounds)]
        ratio = statistics.median(b / a for a, b in pairs)
        a, b = (statistics.median(times) / IMAGES * 1e3 for times in zip(*pairs, strict=True))
        what = "run lengths" if runs else "polygons"
        print(f"{what:12} without masks {a:.2f} ms   with {b:.2f} ms   median ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
