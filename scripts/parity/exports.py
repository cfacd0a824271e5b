"""Writes one data set as other people's tools export it: supervision, datumaro, labelme and labelme2coco.

round_trips.py runs this file with an interpreter that has these packages, which ours need not have:

    python -m venv ENV && ENV/bin/pip install supervision datumaro labelme labelme2coco
    ENV/bin/python scripts/parity/exports.py SET.json EXPORT FOLDER

SET.json: {"classes": [name, …], "keypoints": [name, …], "images": [{"split": train or val, "path", "height", "width",
"objects": [{"class", "box": [x1, y1, x2, y2] in pixels, "crowd": 0 or 1, "mask": run lengths or null, "keypoints":
[[x, y, visibility], …] or null}], "mask": a PNG or null}]}. A mask's 0 is background, 1 the first class, 255 void.
"""

import itertools
import json
import shutil
import sys
from pathlib import Path

import numpy as np

SPLITS = ("train", "val")
VOID = 255


def images_of(content, split=None):
    return [image for image in content["images"] if split in (None, image["split"])]


def pixels(mask):
    """bool (H, W)."""
    from pycocotools import mask as coco_mask

    return coco_mask.decode(mask).astype(bool)


# supervision


def detection_dataset(content, images, masks):
    import supervision as sv

    def detections(image):
        objects = image["objects"]
        if not objects:
            return sv.Detections.empty()
        size = (image["height"], image["width"])
        found = [pixels(one["mask"]) if one["mask"] else np.zeros(size, bool) for one in objects]
        return sv.Detections(
            xyxy=np.array([one["box"] for one in objects], np.float32),
            class_id=np.array([one["class"] for one in objects], int),
            mask=np.array(found) if masks else None,
            data={"iscrowd": np.array([one["crowd"] for one in objects], int)},  # as DetectionDataset.from_coco has it
        )

    paths = [image["path"] for image in images]
    annotations = {image["path"]: detections(image) for image in images}
    return sv.DetectionDataset(content["classes"], paths, annotations)


def supervision(content, folder, form, masks):
    """`as_FORM`: everything in one folder."""
    dataset = detection_dataset(content, images_of(content), masks)
    _supervision(dataset, form, folder, folder / "data.yaml")


def supervision_splits(content, folder, form, masks):
    """`as_FORM` of each split into a folder of its own, as people call it after `DetectionDataset.split`."""
    for split in SPLITS:
        dataset = detection_dataset(content, images_of(content, split), masks)
        _supervision(dataset, form, folder / split, folder / "data.yaml")


def _supervision(dataset, form, folder, data_yaml):
    images = str(folder / "images")
    if form == "coco":
        dataset.as_coco(images, str(folder / "annotations.json"))
    elif form == "yolo":
        dataset.as_yolo(images, str(folder / "labels"), str(data_yaml))
    elif form == "pascal_voc":
        dataset.as_pascal_voc(images, str(folder / "annotations"))
    else:
        dataset.as_labelme(str(folder), str(folder))


# datumaro


def datumaro(content, folder, form, masks, **arguments):
    """`Dataset.export(FORM)` of the objects."""
    from datumaro.components.annotation import Bbox, Points, PointsCategories, RleMask

    points = [Points.Visibility.absent, Points.Visibility.hidden, Points.Visibility.visible]

    ids = itertools.count(1)

    def annotations(image):
        for one, number in zip(image["objects"], ids, strict=False):
            common = {"label": one["class"], "id": number, "group": number}
            common["attributes"] = {"is_crowd": bool(one["crowd"])}
            x1, y1, x2, y2 = one["box"]
            yield Bbox(x1, y1, x2 - x1, y2 - y1, **common)
            if masks and one["mask"]:
                yield RleMask({**one["mask"], "counts": one["mask"]["counts"].encode()}, **common)
            if form == "coco_person_keypoints":
                places = [n for x, y, _ in one["keypoints"] for n in (x, y)]
                yield Points(places, [points[int(visible)] for *_, visible in one["keypoints"]], **common)

    categories = list(content["classes"])
    if form == "coco_person_keypoints":
        from datumaro.components.annotation import AnnotationType, LabelCategories

        named = PointsCategories.from_iterable([(number, content["keypoints"]) for number in range(len(categories))])
        categories = {AnnotationType.label: LabelCategories.from_iterable(categories), AnnotationType.points: named}
    _datumaro(content, folder, form, categories, annotations, arguments)


def datumaro_masks(content, folder, form, colors=True, **arguments):
    """`Dataset.export(FORM)` of the class of each pixel; void becomes background.

    Without a color map, as of a set that datumaro read in COCO's format, its tables of classes have no colors.
    """
    import cv2
    from datumaro.components.annotation import AnnotationType, LabelCategories, Mask, MaskCategories
    from datumaro.util.mask_tools import generate_colormap

    def annotations(image):
        mask = cv2.imread(image["mask"], cv2.IMREAD_UNCHANGED)
        for number in sorted(set(np.unique(mask).tolist()) - {0, VOID}):
            yield Mask(mask == number, label=number, id=number)

    names = ["background", *content["classes"]]
    categories = {AnnotationType.label: LabelCategories.from_iterable(names)}
    if colors:
        categories[AnnotationType.mask] = MaskCategories(generate_colormap(len(names), include_background=True))
    _datumaro(content, folder, form, categories, annotations, arguments)


def _datumaro(content, folder, form, categories, annotations, arguments):
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image

    items = [
        DatasetItem(
            Path(image["path"]).stem,
            subset=image["split"],
            media=Image.from_file(image["path"], size=(image["height"], image["width"])),
            annotations=list(annotations(image)),
        )
        for image in images_of(content)
    ]
    Dataset.from_iterable(items, categories=categories).export(str(folder), form, save_media=True, **arguments)


# labelme and labelme2coco


def labelme(content, folder):
    """labelme's own files: a mask where an object has one, else a rectangle."""
    from labelme._label_file import write_label_file
    from labelme.utils import img_arr_to_b64

    folder.mkdir(parents=True, exist_ok=True)
    for image in images_of(content):
        shapes = []
        for one in image["objects"]:
            x1, y1, x2, y2 = one["box"]
            shape = {"label": content["classes"][one["class"]], "group_id": None, "description": "", "flags": {}}
            if one["mask"]:
                mask = pixels(one["mask"])
                rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
                window = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                corners = [[int(columns[0]), int(rows[0])], [int(columns[-1]), int(rows[-1])]]
                shape |= {"shape_type": "mask", "points": corners, "mask": img_arr_to_b64(window.astype(np.uint8))}
            else:
                shape |= {"shape_type": "rectangle", "points": [[x1, y1], [x2, y2]]}
            shapes.append(shape)
        path = Path(image["path"])
        shutil.copy(path, folder / path.name)
        write_label_file(
            str(folder / f"{path.stem}.json"),
            shapes=shapes,
            image_path=path.name,
            image_height=image["height"],
            image_width=image["width"],
        )


def labelme2coco(content, folder, masks):
    """labelme2coco's JSON of supervision's labelme files, beside them."""
    import labelme2coco as converter

    supervision(content, folder / "images", "labelme", masks)
    converter.convert(str(folder / "images"), str(folder))
    for file in (folder / "images").glob("*.json"):  # as people clear up; the COCO file is what remains
        file.unlink()


EXPORTS = {
    "supervision as_coco": lambda c, f: supervision(c, f, "coco", True),
    "supervision as_coco, splits": lambda c, f: supervision_splits(c, f, "coco", True),
    "supervision as_yolo": lambda c, f: supervision(c, f, "yolo", False),
    "supervision as_yolo, splits": lambda c, f: supervision_splits(c, f, "yolo", False),
    "supervision as_yolo, masks": lambda c, f: supervision(c, f, "yolo", True),
    "supervision as_pascal_voc": lambda c, f: supervision(c, f, "pascal_voc", False),
    "supervision as_pascal_voc, splits": lambda c, f: supervision_splits(c, f, "pascal_voc", False),
    "supervision as_pascal_voc, masks": lambda c, f: supervision(c, f, "pascal_voc", True),
    "supervision as_labelme": lambda c, f: supervision(c, f, "labelme", True),
    "datumaro coco": lambda c, f: datumaro(c, f, "coco", True),
    "datumaro coco_instances": lambda c, f: datumaro(c, f, "coco_instances", True),
    "datumaro coco_instances, mask": lambda c, f: datumaro(c, f, "coco_instances", True, segmentation_mode="mask"),
    "datumaro coco_person_keypoints": lambda c, f: datumaro(c, f, "coco_person_keypoints", False),
    "datumaro voc": lambda c, f: datumaro(c, f, "voc", False),
    "datumaro voc_detection": lambda c, f: datumaro(c, f, "voc_detection", False),
    "datumaro voc_detection, one-based": lambda c, f: datumaro(
        c, f, "voc_detection", False, coordinate_mode="voc-one-based"
    ),
    "datumaro yolo": lambda c, f: datumaro(c, f, "yolo", False),
    "datumaro yolo_ultralytics": lambda c, f: datumaro(c, f, "yolo_ultralytics", False),
    "datumaro label_me": lambda c, f: datumaro(c, f, "label_me", False),
    "datumaro voc_segmentation": lambda c, f: datumaro_masks(c, f, "voc_segmentation"),
    "datumaro voc_segmentation, no colors": lambda c, f: datumaro_masks(c, f, "voc_segmentation", colors=False),
    "datumaro camvid": lambda c, f: datumaro_masks(c, f, "camvid"),
    "datumaro cityscapes": lambda c, f: datumaro_masks(c, f, "cityscapes"),
    "labelme": lambda c, f: labelme(c, f),
    "labelme2coco": lambda c, f: labelme2coco(c, f, True),
}

if __name__ == "__main__":
    EXPORTS[sys.argv[2]](json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[3]))
