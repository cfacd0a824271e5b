"""What each data set in a folder is read as: `data=DIR` without another word.

    python scripts/parity/real_sets.py DATA [train]

prints for each folder in DATA what `detect` says, and what the sources hold; with `train`, also the loss of one step of
the head for the richest labels, on ResNet-18 of random weights. Exit code 1 if a folder with images is refused.
"""

import sys
import time
from pathlib import Path

from visiontasks.data.detect import detect
from visiontasks.data.images import list_images
from visiontasks.data.load import load_data, load_sources
from visiontasks.errors import DataError

# the labels to look for, the richest first
WANTED = (
    ("keypoints", "boxes", "classes"),
    ("instance_masks", "boxes", "classes"),
    ("boxes", "classes"),
    ("mask",),
    ("label",),
    ("tags",),
)


def read(folder) -> tuple[str, tuple, str]:
    """(what `detect` says, the richest fields, what the sources hold)."""
    splits, text = detect(folder)
    train, val = load_sources(splits, (), 0.2, 0)
    fields = next(fields for fields in WANTED if set(fields) <= train.fields - train.derived)
    classes = len(train.names["classes" if "boxes" in fields else fields[0]])
    notes = str(train.report).splitlines()
    count = f"{len(train)} + {len(val)} images, {classes} classes, for {', '.join(fields)}"
    return text, fields, count + (f"; {len(notes)} notes, such as {notes[0][:60]}" if notes else "")


def step(folder, fields) -> float:
    """The loss of one step."""
    import visiontasks as vt

    pose, masks = "keypoints" in fields, "instance_masks" in fields
    train, _ = load_data(folder, fields=fields, size=(128, 128), batch=2, resize="object" if pose else "stretch")
    backbone = vt.backbone("resnet18", weights=None, input_shape=(128, 128, 3))
    names = train.names
    if pose:
        head = vt.heads.PoseHeatmap(names["classes"], skeleton=names["keypoints"])
    elif masks:
        head = vt.heads.MaskRCNN(names["classes"], filters=32, units=64, mask={"filters": 32})
    elif "boxes" in fields:
        head = vt.heads.YOLO(names["classes"], variant="n")
    else:
        makers = {"mask": vt.heads.UNet, "label": vt.heads.Classifier, "tags": vt.heads.Tagger}
        head = makers[fields[0]](names[fields[0]])
    model = vt.VisionModel(backbone, head)
    model.compile("adam", run_eagerly=True)
    return model.fit(train, steps_per_epoch=1, epochs=1, verbose=0).history["loss"][0]


def main():
    data, refused = Path(sys.argv[1]), False
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        started = time.perf_counter()
        try:
            text, fields, count = read(folder)
        except DataError as error:
            refused |= bool(list_images(folder))
            print(f"{folder.name}: refused: {str(error).splitlines()[0]}", flush=True)
            continue
        loss = f"; loss of a step {step(folder, fields):.3f}" if "train" in sys.argv[2:] else ""
        print(f"{text} {count}{loss} ({time.perf_counter() - started:.1f} s)", flush=True)
    sys.exit(refused)


if __name__ == "__main__":
    main()
