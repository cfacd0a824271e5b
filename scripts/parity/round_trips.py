"""Real data sets, exported by other people's tools and read again from the folder alone: same boxes, classes, masks?

    python scripts/parity/round_trips.py DATA PYTHON [images=N] [sets=nuclei,bccd] [exports=coco,yolo] [keep=FOLDER]

DATA holds the folders nuclei, bccd, coco-mini and lsp; PYTHON is an interpreter with the tools (see exports.py). images
takes the first N of each split, exports those whose names contain a word. Exit code 1 if a row is outside its bounds.

The table compares with the set as it was. An annotation is equal within the rounding of its format, in pixels, which
each export below states: that of its boxes, and of its masks the least n for which the mask, n pixels thinner, lies
within the other, and that within the mask n pixels thicker. Polygons that run through pixel centers, as OpenCV's
contours do, cost a pixel on the right and at the bottom. What a tool alone changes has no bound: files in COCO's format
are compared with what pycocotools reads in them, exactly.
"""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pycocotools.coco
from comparing import Export, Image, Row

from visiontasks.data.detect import detect
from visiontasks.data.load import load_sources
from visiontasks.errors import DataError

SETS = {"nuclei": "masks", "bccd": "boxes", "coco-mini": "masks", "lsp": "keypoints"}
FIELDS = {
    "boxes": ("boxes", "classes"),
    "masks": ("boxes", "classes", "instance_masks"),
    "keypoints": ("boxes", "classes", "keypoints"),
    "pixels": ("mask",),
}


COCO = {"gives": "masks", "crowds": "kept", "coco": True}
CONTOURS = {"gives": "masks", "box": 1.01, "mask": 1, "outlines": True, "contours": True}
EXPORTS = {
    "supervision as_coco": Export(**COCO),
    "supervision as_coco, splits": Export(**COCO),
    "supervision as_yolo": Export("boxes", box=0.02),
    "supervision as_yolo, splits": Export("boxes", box=0.02),
    "supervision as_yolo, masks": Export(**CONTOURS, parts=True),
    "supervision as_pascal_voc": Export("boxes", box=0.51),
    "supervision as_pascal_voc, splits": Export("boxes", box=0.51),
    "supervision as_pascal_voc, masks": Export("boxes", box=0.51, outlines=True, contours=True, parts=True),
    "supervision as_labelme": Export(**CONTOURS),
    "datumaro coco": Export(**COCO),
    "datumaro coco_instances": Export(**COCO),
    "datumaro coco_instances, mask": Export(**COCO, says="crowds"),
    "datumaro coco_person_keypoints": Export("keypoints", crowds="kept"),
    "datumaro voc": Export("boxes", box=1.01),  # it counts from 0, which the file does not say
    "datumaro voc_detection": Export("boxes", box=1.01),
    "datumaro voc_detection, one-based": Export("boxes", box=1),
    "datumaro yolo": Export("boxes", crowds="none"),
    "datumaro yolo_ultralytics": Export("boxes", crowds="none"),
    "datumaro label_me": Export("boxes"),
    "datumaro voc_segmentation": Export("pixels"),
    "datumaro voc_segmentation, no colors": Export("pixels"),
    "datumaro camvid": Export("pixels"),
    "datumaro cityscapes": Export("pixels"),
    "labelme": Export("masks", outlines=True),
    "labelme2coco": Export("masks", contours=True, parts=True, coco=True),
}


def read_folder(folder, fields, most=None) -> tuple[dict[str, Image], dict[str, tuple[str, ...]], str]:
    """({stem: Image}, class names by field, what `detect` says): as `vt.load_data(folder, fields=…)` reads it."""
    _, text = detect(folder, fields)
    images, sources = {}, load_sources(str(folder), fields, 0.2, 0)
    for split, source in zip(("train", "val"), sources, strict=True):
        for index in range(len(source) if most is None else min(most, len(source))):
            sample = source.read(index, fields)
            image = Image(sample.path, sample.image.shape[:2], split, pixels=sample.mask)
            if sample.boxes is not None:
                image.boxes, image.keypoints = sample.boxes.astype(float), sample.keypoints
                image.classes = [source.names["classes"][number] for number in sample.classes]
                image.ignored = np.zeros(len(sample.boxes), bool) if sample.ignored is None else sample.ignored
            if sample.instance_masks is not None:
                image.masks = [sample.instance_masks.text(number) for number in range(len(sample.boxes))]
            images[Path(sample.path).stem.removesuffix("_leftImg8bit")] = image
    return images, sources[0].names, text


def written(images, names, folder) -> Path:
    """The file that exports.py reads."""
    classes, listed = list(names["classes"]), []
    for stem, image in images.items():
        masks = image.masks or [None] * len(image.boxes)
        objects = [
            {"class": classes.index(name), "box": box.tolist(), "crowd": int(crowd), "mask": mask, "keypoints": None}
            for name, box, crowd, mask in zip(image.classes, image.boxes, image.ignored, masks, strict=True)
        ]
        for one, points in zip(objects, image.keypoints if image.keypoints is not None else (), strict=False):
            one["keypoints"] = points.tolist()
        file = folder / f"{stem}.png"
        if image.pixels is not None:
            cv2.imwrite(str(file), image.pixels.astype(np.uint8))
        height, width = image.size
        entry = {"split": image.split, "path": image.path, "height": height, "width": width, "objects": objects}
        listed.append(entry | {"mask": str(file) if image.pixels is not None else None})
    points = names.get("keypoints", [])
    content = {"classes": classes, "keypoints": list(points), "images": listed}
    (folder / "set.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "set.json"


def export(python, file, name, folder):
    """Raise a RuntimeError with the tool's last words unless it writes the data set."""
    words = [python, str(Path(__file__).with_name("exports.py")), str(file), name, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])


def by_pycocotools(folder) -> dict[str, Image]:
    """{stem: image} of the files instances*.json in a folder, or of any JSON, as pycocotools reads them."""
    files = sorted(folder.rglob("instances*.json")) or sorted(folder.rglob("*.json"))
    images = {}
    for file in files:
        with contextlib.redirect_stdout(io.StringIO()):
            coco = pycocotools.coco.COCO(str(file))
        for entry in coco.dataset["images"]:
            listed = coco.imgToAnns[entry["id"]]
            image = Image(entry["file_name"], (entry["height"], entry["width"]), "")
            image.boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in (one["bbox"] for one in listed)], float)
            image.boxes = image.boxes.reshape(-1, 4)
            image.classes = [coco.cats[one["category_id"]]["name"] for one in listed]
            image.ignored = np.array([one.get("iscrowd", 0) == 1 for one in listed], bool)
            image.masks = [coco.annToRLE(one) if one.get("segmentation") else None for one in listed]
            images[Path(entry["file_name"]).stem] = image
    return images


def same_names(before, after, how, used) -> str:
    """yes; used: those without an object are not in the export; or no."""
    ours, theirs = (names["mask" if how.gives == "pixels" else "classes"] for names in (before, after))
    if tuple(ours) == tuple(theirs):
        return "yes"
    return "used" if set(theirs) <= set(ours) and used <= set(theirs) else f"no ({', '.join(theirs[:4])}, …)"


def trip(images, names, file, name, python, folder) -> tuple[list[str], list[str]]:
    """(the cells of the table, what is outside the bounds) of one export."""
    how = EXPORTS[name]
    try:
        export(python, file, name, folder)
    except RuntimeError as error:
        return ["", "", "", "", "", "", f"the tool fails: {error}"], []
    try:
        again, others, text = read_folder(folder, FIELDS[how.gives])
    except (DataError, ValueError, KeyError) as error:
        if how.says and how.says in str(error):
            return ["", "", "", "", "", "", f"refused, as it should be: {how.says}"], []
        return ["", "", "", "", "", "", "not read"], [
            str(error).replace(str(folder), "DIR").split("\nExpected one of")[0]
        ]
    if any((image.pixels if how.gives == "pixels" else image.boxes) is None for image in again.values()):
        return ["", "", "", "", "", "", "not read"], [f"no {how.gives}: {text.replace(str(folder), 'DIR')}"]
    row = Row(how)
    for stem in images.keys() & again.keys():
        row.add(images[stem], again[stem])
    judge = row
    if how.coco:
        judge = Row(Export("masks", crowds="kept"))
        for stem, image in by_pycocotools(folder).items():
            judge.add(image, again[stem])
    used = {one for image in images.values() for one in image.classes}
    equal = same_names(names, others, how, used)
    faults = judge.faults() + ["class names"] * equal.startswith("no")
    missing = [image for stem, image in images.items() if stem not in again]
    if missing:
        empty = sum(not len(image.boxes) for image in missing)
        faults.append(f"{len(missing)} images missing, {empty} of them without objects")
    read_as = text.replace(str(folder), "DIR").partition("read as ")[2].partition(",")[0]
    return [f"{len(images.keys() & again.keys())}/{len(images)}", *row.cells(), equal, read_as], faults


def main():
    data, python, *rest = sys.argv[1:]
    words = dict(word.split("=", 1) for word in rest)
    sets, most = words.get("sets", ",".join(SETS)).split(","), int(words["images"]) if "images" in words else None
    wanted = [name for name in EXPORTS if any(one in name for one in words.get("exports", " ,l").split(","))]
    print("| set | export | images | objects | box px | mask IoU | mask px | classes | read as |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    wrong = []
    for name in sets:
        kind = SETS[name]
        fields = (*FIELDS[kind], *(("mask",) if kind == "masks" else ()))
        images, names, _ = read_folder(Path(data) / name, fields, most)
        for form in wanted:
            gives = EXPORTS[form].gives
            if gives == "pixels" and kind != "masks" or gives == "keypoints" and kind != "keypoints":
                continue
            with contextlib.ExitStack() as stack:
                if "keep" in words:
                    folder = Path(words["keep"]) / f"{name} {form}"
                    folder.mkdir(parents=True)
                else:
                    folder = stack.enter_context(tempfile.TemporaryDirectory())
                file = written(images, names, Path(folder))
                cells, faults = trip(images, names, file, form, python, Path(folder) / "export")
            print(f"| {' | '.join([name, form, *cells])} |" + f" <- {'; '.join(faults)}" * bool(faults), flush=True)
            wrong += faults
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
