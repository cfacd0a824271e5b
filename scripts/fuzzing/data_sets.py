"""Small data sets in every layout that scripts/fuzz.py changes: files in memory, and which of them are changed."""

import base64
import io
import json
from typing import NamedTuple

import cv2
import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 24, 32
NAMES = ("a", "b", "c", "d")
_TINY = {
    "backbone": {"name": "unet_encoder", "filters": 4, "depth": 3},
    "data": {"size": [32, 32], "batch": 2, "workers": 0},
    "train": {"epochs": 1},
}
_FLIP = [{"HorizontalFlip": {"p": 0.5}}]


class DataSet(NamedTuple):
    """A data set: {path: content} of its files, {path: form} of those to change, and a recipe that learns from it."""

    files: dict[str, bytes]
    targets: dict[str, str]
    recipe: dict


def recipe(head: dict, **data) -> dict:
    """A small recipe with a head."""
    return {**_TINY, "head": head, "data": {**_TINY["data"], **data}}


def image(number: int) -> np.ndarray:
    """One of several images that differ."""
    return np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def encoded(array: np.ndarray, form: str = "PNG", **options) -> bytes:
    """An image's file in one of Pillow's formats."""
    written = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(written, form, **options)
    return written.getvalue()


def _images(folder: str, names=NAMES) -> dict[str, bytes]:
    return {f"{folder}{name}.png": encoded(image(number)) for number, name in enumerate(names)}


def tables() -> dict[str, DataSet]:
    """Tables of tags, of classes, of boxes, of points, and of a mask's classes."""
    tags = "file,tags\na.png,cat dog\nb.png,cat\nc.png,\nd.png,dog\n"
    flags = "image,cat,dog\na.png,1,0\nb.png,0,1\nc.png,1,1\nd.png,0,0\n"
    classes = "id,label,split\na.png,cat,train\nb.png,dog,train\nc.png,cat,val\nd.png,dog,val\n"
    boxes = "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,32,24,dog,1,2,10,12\nb.png,32,24,cat,0,0,5,5\n"
    boxes += "a.png,32,24,cat,0.5,0,30,20\nc.png,32,24,cat,3,3,9,9\nd.png,,,,,,,\n"
    points = "scorer,,,me,me,me,me\nbodyparts,,,snout,snout,leftear,leftear\ncoords,,,x,y,x,y\n"
    points += "".join(f"labeled-data,v,{name}.png,{4 + n},10,20,{5 + n}\n" for n, name in enumerate(NAMES))
    kinds = {
        "tags": (tags, recipe({"name": "tagger"}, augment=_FLIP)),
        "flags": (flags, recipe({"name": "tagger"})),
        "classes": (classes, recipe({"name": "classifier"})),
        "boxes": (boxes, recipe({"name": "retinanet"}, augment=_FLIP)),
    }
    made = {
        name: DataSet({"labels.csv": text.encode(), **_images("")}, {"labels.csv": "csv"}, learned)
        for name, (text, learned) in kinds.items()
    }
    table = "labeled-data/v/CollectedData_me.csv"
    made["points"] = DataSet(
        {table: points.encode(), **_images("labeled-data/v/")},
        {table: "csv"},
        recipe({"name": "pose_heatmap"}, resize="object"),
    )
    masks = _masks()
    colors = "name,r,g,b\nsky,255,0,0\nroad,0,255,0\n"
    palette = np.uint8([[255, 0, 0], [0, 255, 0]])
    colored = {f"masks/{name}.png": encoded(palette[masks[name]]) for name in NAMES}
    made["colors"] = DataSet(
        {"class_dict.csv": colors.encode(), **_images("images/"), **colored},
        {"class_dict.csv": "csv"},
        recipe({"name": "unet", "filters": [8, 4]}),
    )
    return made


def _masks() -> dict[str, np.ndarray]:
    made = {}
    for number, name in enumerate(NAMES):
        made[name] = np.zeros((HEIGHT, WIDTH), np.uint8)
        made[name][4 + number : 14, 6:20] = 1
    return made


def coco(keypoints: bool) -> dict:
    """COCO's JSON of the images: polygons, both kinds of run lengths, a crowd, a box alone; or people."""
    categories = [{"id": 1, "name": "cat", "supercategory": "animal"}, {"id": 7, "name": "dog"}]
    if keypoints:
        points = {"keypoints": ["nose", "left_eye", "right_eye"], "skeleton": [[1, 2], [1, 3]]}
        categories = [{"id": 1, "name": "person", **points}]
    mask = np.asfortranarray(_masks()["a"])
    compressed = coco_mask.encode(mask)
    counts = _counts(mask)
    square = [[2, 3, 12, 3, 12, 13, 2, 13]]
    shapes = (square, {"size": [HEIGHT, WIDTH], "counts": compressed["counts"].decode()})
    shapes += ({"size": [HEIGHT, WIDTH], "counts": counts}, None)
    annotations = []
    for number in range(6):
        one = {"id": number, "image_id": number % 4 + 1, "category_id": categories[number % len(categories)]["id"]}
        one |= {"bbox": [2 + number, 3, 10, 10], "area": 100.0, "iscrowd": int(number == 4 and not keypoints)}
        if shapes[number % 4] is not None:
            one["segmentation"] = shapes[number % 4] if number != 4 else shapes[2]
        if keypoints:
            one |= {"keypoints": [5, 5, 2, 6, 6, 1, 0, 0, 0], "num_keypoints": 2}
        annotations.append(one)
    listed = [
        {"id": number + 1, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH}
        for number, name in enumerate(NAMES)
    ]
    return {"info": {"year": 2020}, "images": listed, "annotations": annotations, "categories": categories}


def _counts(mask) -> list[int]:
    """Uncompressed run lengths."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    return np.diff([0, *edges.tolist(), len(flat)]).tolist()


def jsons() -> dict[str, DataSet]:
    """COCO's objects and people, and labelme's shapes."""
    masked = recipe({"name": "ssd"}, augment=_FLIP)
    made = {}
    for name, learned in (("objects", masked), ("keypoints", recipe({"name": "pose_heatmap"}, resize="object"))):
        text = json.dumps(coco(name == "keypoints")).encode()
        files = {"annotations/instances_train.json": text, **_images("train/")}
        made[name] = DataSet(files, {"annotations/instances_train.json": "json"}, learned)
    png = base64.b64encode(encoded(_masks()["a"][4:14, 6:20] * 255)).decode()
    square = [[2, 3], [12, 3], [12, 13], [2, 13]]
    shapes = [
        {"label": "cat", "points": square, "shape_type": "polygon", "group_id": None},
        {"label": "dog", "points": square[::2], "shape_type": "rectangle"},
        {"label": "dog", "points": square[:2], "shape_type": "circle", "group_id": 1},
        {"label": "cat", "points": [[6, 4], [20, 14]], "shape_type": "mask", "mask": png},
    ]
    files = _images("")
    for number, name in enumerate(NAMES):
        shape = [shapes[number], shapes[0]]
        content = {"version": "5", "flags": {}, "shapes": shape, "imagePath": f"{name}.png", "imageData": None}
        files[f"{name}.json"] = json.dumps({**content, "imageHeight": HEIGHT, "imageWidth": WIDTH}).encode()
    made["labelme"] = DataSet(files, {f"{name}.json": "json" for name in NAMES}, masked)
    return made


def xmls() -> dict[str, DataSet]:
    """PASCAL VOC with its lists, and XML beside the images."""
    files, plain = {}, _images("images/")
    for number, name in enumerate(NAMES):
        objects = "".join(
            f"<object><name>{kind}</name><pose>Left</pose><difficult>{number % 2 * n}</difficult>"
            f"<bndbox><xmin>{2 + n}</xmin><ymin>3</ymin><xmax>{20 - n}</xmax><ymax>15</ymax></bndbox></object>"
            for n, kind in enumerate(("cat", "dog"))
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        text = f"<annotation><folder>x</folder><filename>{name}.png</filename>{size}{objects}</annotation>".encode()
        files[f"Annotations/{name}.xml"] = plain[f"annotations/{name}.xml"] = text
    files |= {"ImageSets/Main/train.txt": b"a\nb\n", "ImageSets/Main/val.txt": b"c\nd\n"}
    files |= _images("JPEGImages/")
    learned = recipe({"name": "ssd"})
    return {
        "voc": DataSet(files, {path: "xml" for path in files if path.endswith(".xml")}, learned),
        "beside": DataSet(plain, {path: "xml" for path in plain if path.endswith(".xml")}, learned),
    }


def texts() -> dict[str, DataSet]:
    """YOLO's label files with a data.yaml or a classes.txt, lists of images and classes, and VOC's lists."""
    box, point = "0 0.5 0.5 0.2 0.4\n1 0.4 0.4 0.3 0.3", "0 0.5 0.5 0.2 0.4 0.5 0.5 2 0.25 0.1 1 0 0 0"
    polygon = "0 0.1 0.1 0.6 0.1 0.6 0.7 0.1 0.7\n1 0.2 0.2 0.5 0.2 0.4 0.6"
    shape = {"kpt_shape": [3, 3], "flip_idx": [0, 2, 1]}
    ssd = recipe({"name": "ssd"})
    kinds = {
        "boxes": (box, {}, ssd),
        "polygons": (polygon, {}, ssd),
        "pose": (point, shape, recipe({"name": "pose_heatmap"}, resize="object", augment=_FLIP)),
    }
    made = {}
    for name, (rows, more, learned) in kinds.items():
        described = {"train": "images/train", "val": "images/val", "names": {0: "cat", 1: "dog"}, **more}
        files = {"data.yaml": yaml.safe_dump(described).encode()}
        files |= _images("images/train/") | _images("images/val/", ("e", "f"))
        labels = [path.replace("images", "labels").replace(".png", ".txt") for path in files if "images" in path]
        files |= dict.fromkeys(labels, rows.encode())
        targets = {**dict.fromkeys(labels[:2], "rows"), "data.yaml": "yaml"}
        made[name] = DataSet(files, targets, learned)
    files = {"classes.txt": b"cat\ndog\n", **_images("images/")}
    files |= {f"labels/{name}.txt": box.encode() for name in NAMES}
    made["classes"] = DataSet(files, {"classes.txt": "rows", "labels/a.txt": "rows"}, ssd)
    listed = {"train.txt": b"a.png 0\nb.png 1\nc.png 0\nd.png 1\n", "val.txt": b"a.png 0\nb.png 1\n"}
    listed |= {"classes.txt": b"cat\ndog\n", **_images("")}
    targets = dict.fromkeys(("train.txt", "val.txt", "classes.txt"), "rows")
    made["listed"] = DataSet(listed, targets, recipe({"name": "classifier"}))
    voc = xmls()["voc"]
    made["voc"] = DataSet(voc.files, {"ImageSets/Main/train.txt": "rows"}, ssd)
    return made


def images() -> dict[str, DataSet]:
    """Class folders of images in every format, and masks in some."""
    array = image(9)
    pillow, gray = Image.fromarray(array), array[..., 0]
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = {
        "plain.png": encoded(array),
        "deep.png": cv2.imencode(".png", array.astype(np.uint16) * 257)[1].tobytes(),
        "palette.png": encoded(pillow.quantize(16), transparency=3),
        "alpha.png": encoded(np.dstack([array, gray])),
        "interlaced.png": encoded(pillow, interlace=1),
        "photo.jpg": encoded(array, "JPEG", exif=exif),
        "progressive.jpg": encoded(array, "JPEG", progressive=True),
        "cmyk.jpg": encoded(pillow.convert("CMYK"), "JPEG"),
        "gray.jpg": encoded(gray, "JPEG"),
        "lzw.tif": encoded(array, "TIFF", compression="tiff_lzw"),
        "deep.tif": cv2.imencode(".tif", array.astype(np.uint16) * 257)[1].tobytes(),
        "gray.tif": encoded(gray, "TIFF", compression="tiff_deflate"),
        "frames.gif": encoded(pillow.quantize(16), "GIF", save_all=True, append_images=[pillow.quantize(4)] * 2),
        "lossy.webp": encoded(array, "WEBP"),
        "lossless.webp": encoded(array, "WEBP", lossless=True),
        "plain.bmp": encoded(array, "BMP"),
        "palette.bmp": encoded(pillow.quantize(16), "BMP"),
        "plain.ppm": encoded(array, "PPM"),
        "gray.pgm": encoded(gray, "PPM"),
        "two.mpo": encoded(pillow, "MPO", save_all=True, append_images=[pillow]),
        "plain.avif": encoded(array, "AVIF"),
        "giant.png": encoded(Image.new("L", (2**14, 2**13))),
    }
    made = {}
    for name, content in kinds.items():
        files = {f"cat/{name}": content, "cat/b.png": encoded(image(1)), "dog/c.png": encoded(image(2))}
        files["dog/d.png"] = encoded(image(3))
        made[name] = DataSet(files, {f"cat/{name}": "bytes"}, recipe({"name": "classifier"}))
    masks = _masks()
    for name, written in {
        "index": {one: encoded(mask) for one, mask in masks.items()},
        "palette": {one: encoded(Image.fromarray(mask).quantize(2)) for one, mask in masks.items()},
    }.items():
        files = _images("images/") | {f"masks/{one}.png": content for one, content in written.items()}
        unet = recipe({"name": "unet", "filters": [8, 4]}, augment=_FLIP)
        made[f"masks {name}"] = DataSet(files, {"masks/a.png": "bytes", "images/b.png": "bytes"}, unet)
    return made


KINDS = {"csv": tables, "json": jsons, "xml": xmls, "txt": texts, "images": images}
