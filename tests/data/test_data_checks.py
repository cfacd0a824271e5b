"""Each kind of finding, on labels and thumbnails made here."""

import json

import cv2
import numpy as np
import pytest

from visiontasks.data.checks.classes import check_classes, counts
from visiontasks.data.checks.duplicates import duplicates
from visiontasks.data.checks.images import check_images, check_report
from visiontasks.data.checks.keypoints import check_keypoints
from visiontasks.data.checks.looking import THUMBNAIL, Seen, look
from visiontasks.data.checks.objects import check_boxes, check_masks
from visiontasks.data.checks.summary import summary
from visiontasks.data.derived import Mixed, Named, Subset
from visiontasks.data.images import decode_image, decode_small, list_images
from visiontasks.data.report import Report
from visiontasks.data.room import make_room, too_many
from visiontasks.data.sources.boxes import Boxes
from visiontasks.data.sources.coco import Coco
from visiontasks.data.sources.csv import Csv
from visiontasks.data.sources.folder import Folder
from visiontasks.data.sources.images import Images
from visiontasks.data.sources.masks import Masks
from visiontasks.data.sources.points import Points
from visiontasks.data.sources.shapes import Shapes
from visiontasks.data.sources.yolo import Yolo
from visiontasks.skeleton import Skeleton


def seen(labels=None, name="1.png", size=(100, 200), thumbnail=None, **more):
    thumbnail = np.zeros((THUMBNAIL, THUMBNAIL), np.uint8) if thumbnail is None else thumbnail
    given = {"index": 0, "brightness": 100.0, "contrast": 50.0, "fingerprint": name} | more
    return Seen(name=name, size=size, thumbnail=thumbnail, labels={"": labels or {}}, **given)


def objects(boxes, classes=None, **more):
    boxes = np.float32(boxes)
    return {"boxes": boxes, "classes": np.zeros(len(boxes), int) if classes is None else np.array(classes), **more}


def found(findings):
    return {one.kind: one.count for one in findings}


def photo(seed, size=(240, 320)):
    rng = np.random.default_rng(seed)
    image = np.zeros((*size, 3), np.float32)
    for cells, strength in ((4, 60), (12, 40), (40, 30)):
        noise = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(image + 128, 0, 255).astype(np.uint8)


def stain(seed, size=(240, 320)):
    """Cells of one size and color, at other places in each image."""
    rng, image = np.random.default_rng(seed), np.full((*size, 3), 225, np.uint8)
    for x, y in rng.uniform(0, 1, (40, 2)) * size[::-1]:
        cv2.circle(image, (int(x), int(y)), 16, (150, 120, 210), -1, cv2.LINE_AA)
        cv2.circle(image, (int(x), int(y)), 6, (190, 170, 225), -1, cv2.LINE_AA)
    return image


COPIES = {
    "jpeg": lambda image: image,
    "resized": lambda image: cv2.resize(image, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA),
    "cropped": lambda image: image[5:-5, 6:-6],
    "corner": lambda image: image[5:, 6:],
    "all": lambda image: cv2.resize(image[5:, :-6], None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA),
}


@pytest.mark.parametrize("draw", [photo, stain])
def test_copies_are_found_and_no_other_images(draw, tmp_path):
    for folder in ("train", "val"):
        (tmp_path / folder).mkdir()
    for seed in range(40):
        cv2.imwrite(str(tmp_path / "train" / f"{seed:02}.png"), draw(seed))
    for number, (name, copy) in enumerate(COPIES.items()):
        for seed in range(4 * number, 4 * number + 4):
            path = tmp_path / "val" / f"{seed:02}_{name}.jpg"
            cv2.imwrite(str(path), copy(draw(seed)), [cv2.IMWRITE_JPEG_QUALITY, 70])
    images = {split: look(Images(str(tmp_path / split)), ())[0] for split in ("train", "val")}
    (finding,) = duplicates(images)
    assert finding.kind == "duplicates_between" and finding.count == 20
    for pair in finding.names:
        one, other = (name.rpartition("/")[2] for name in pair.split(" = "))
        assert one[:2] == other[:2]


def test_a_jpeg_is_decoded_at_a_fraction_with_the_whole_size(tmp_path):
    data = cv2.imencode(".jpg", photo(0, (600, 900)))[1].tobytes()
    small, size = decode_small(data, least=64)
    assert size == (600, 900) and small.shape == (75, 113, 3)
    whole = cv2.resize(decode_image(data), (113, 75), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - whole).mean() < 3
    assert decode_small(cv2.imencode(".png", photo(0, (600, 900)))[1].tobytes(), least=64)[0].shape == (66, 100, 3)
    assert decode_small(cv2.imencode(".jpg", photo(0, (60, 90)))[1].tobytes(), least=64)[0].shape == (60, 90, 3)


def test_labels_stay_in_the_pixels_of_the_whole_image(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), photo(0, (480, 640)))
    (tmp_path / "boxes.csv").write_text("file,xmin,ymin,xmax,ymax,class\na.jpg,100,200,500,400,cell\n")
    source = Boxes(str(tmp_path / "boxes.csv"))
    for one, fields, label_set in (
        (source, ("boxes", "classes"), ""),
        (Subset(Mixed([Named(source, "cells")]), [0]), ("cells/boxes", "cells/classes"), "cells"),
    ):
        ((image,), unreadable) = look(one, fields)
        assert not unreadable and image.size == (480, 640) and image.of(label_set).keys() >= {"boxes", "classes"}
        assert image.of(label_set)["boxes"].tolist() == [[100, 200, 500, 400]]


def test_a_source_without_files_is_looked_at_too():
    images, _ = look(Shapes(count=3, size=[64, 64]), ("boxes", "classes", "mask", "instance_masks"))
    assert len(images) == 3
    for image in images:
        assert len(image.of("")["instance_masks"]) == len(image.of("")["boxes"])
        assert image.of("")["mask"].sum() == 64 * 64


def test_unreadable_images_are_counted(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), photo(0))
    (tmp_path / "b.png").write_bytes(b"")
    source = Images(str(tmp_path))
    images, unreadable = look(source, ())
    assert len(images) == 1 and len(unreadable) == 1 and source.report.count("empty file, skipped") == 1


def test_odd_images():
    images = [seen(name=f"{n}.png") for n in range(9)]
    images += [seen(contrast=0.0), seen(size=(10, 12)), seen(size=(100, 500))]
    assert found(check_images("train", images)) == {"one_color": 1, "small_image": 1, "long_image": 1}
    assert found(check_images("train", [])) == {"no_images": 1}


def test_reports_become_findings():
    report = Report()
    report.skipped("truncated JPEG, skipped", "a.jpg")
    report.noted("file name without its suffix, completed", "b")
    assert [(one.kind, one.level) for one in check_report(report)] == [("skipped", "warning"), ("mended", "note")]


def levels(source):
    """{what the report says: the level of its finding}, without the count before it."""
    return {one.text.partition(" × ")[2]: (one.kind, one.level) for one in check_report(source.report)}


LOST, KEPT = ("skipped", "warning"), ("mended", "note")


def blank(path, size=(40, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((*size, 3), np.uint8))


def of_classes(root):
    for name in ("cat/a.png", "dog/b.png", "loose.png", ".trash/c.png"):
        blank(root / name)
    (root / "notes").mkdir()
    return Folder(str(root)), {
        "image outside the class folders, skipped": LOST,
        "hidden folder, not used as a class": KEPT,
        "folder without images, not used as a class": KEPT,
    }


def of_tags(root):
    blank(root / "a.png")
    (root / "tags.csv").write_text("file,tags\na.png,x\nA.PNG,y\ngone.png,x\n")
    (root / "test.csv").write_text("file\nb.png\n")
    return Csv(str(root / "tags.csv")), {
        "image missing, skipped": LOST,
        "image of several rows, whose labels are joined": KEPT,
        "file name in another letter case or Unicode form": KEPT,
        "table without labels beside, not used": KEPT,
    }


def of_coco(root):
    blank(root / "a.png")
    boxes = [[1, 1, 9, 9]] * 9 + [[30, 30, 20, 20], [1, 1, 0, 9], [50, 50, 9, 9]]
    entries = [{"id": n, "image_id": 1, "category_id": 2, "bbox": box} for n, box in enumerate(boxes)]
    entries.append({"id": 99, "image_id": 1, "category_id": 2, "bbox": [1, 1, 9, 9], "iscrowd": 1})
    image = {"id": 1, "file_name": "a.png", "height": 40, "width": 40}
    categories = [{"id": 1, "name": "cats"}, {"id": 2, "name": "cat", "supercategory": "cats"}]
    content = {"images": [image], "annotations": entries, "categories": categories}
    (root / "a.json").write_text(json.dumps(content))
    return Coco(str(root / "a.json")), {
        "category without objects that others name as their supercategory, left out": KEPT,
        "object of iscrowd 1, ignored as a crowd (crowd=objects learns it)": LOST,
        "box that exceeds its image, clipped": KEPT,
        "box without extent, skipped": LOST,
        "box outside of its image, skipped": LOST,
    }


def of_yolo(root):
    for name in ("a", "b"):
        blank(root / f"images/{name}.png")
    (root / "labels").mkdir()
    (root / "labels/a.txt").write_text("0 .5 .5 .2 .2\n" * 2 + "0 .5 .5 .2 2\n")
    (root / "labels/gone.txt").write_text("0 .5 .5 .2 .2\n")
    (root / "data.yaml").write_text("names: [cat]\ntrain: images\n")
    return Yolo(str(root / "data.yaml")), {
        "row that occurs twice in a file, used once": KEPT,
        "object with numbers outside [0, 1], skipped": LOST,
        "image without a label file, used as an image without objects": KEPT,
        "label file without an image, not used": LOST,
    }


def of_masks(root):
    for name in ("a", "b"):
        blank(root / f"images/{name}.png")
    (root / "masks").mkdir()
    for name in ("a", "c", "a_color"):
        cv2.imwrite(str(root / f"masks/{name}.png"), np.eye(40, dtype=np.uint8))
    return Masks(str(root / "images"), str(root / "masks"), ["back", "cell", "other"]), {
        "image of instances, colors for people or a second annotator, beside the masks": KEPT,
        "image without a mask, skipped": LOST,
        "mask without an image, skipped": LOST,
        "class that occurs in no mask": KEPT,
    }


def of_points(root):
    blank(root / "a.png")
    (root / "CollectedData.csv").write_text(
        "scorer,me,me,me,me\nbodyparts,nose,nose,ear,ear\ncoords,x,y,x,y\na.png,5,5,90,90\n"
    )
    (root / "config.yaml").write_text("skeleton: [[nose, tail]]\n")
    return Points(str(root / "CollectedData.csv"), skeleton={"sigmas": [0.1, 0.1]}), {
        "keypoint outside of its image, not labeled": LOST,
        "limb that is no pair of keypoints, left out": KEPT,
    }


@pytest.mark.parametrize("make", [of_classes, of_tags, of_coco, of_yolo, of_masks, of_points])
def test_a_warning_is_of_what_training_does_not_see_and_a_note_of_the_rest(make, tmp_path):
    source, expected = make(tmp_path)
    assert levels(source) == expected


def test_objects_beyond_the_room_of_a_batch_are_a_warning(tmp_path):
    (tmp_path / "boxes.csv").write_text("file,xmin,ymin,xmax,ymax,class\n" + "a.png,1,1,9,9,cat\n" * 103)
    blank(tmp_path / "a.png")
    source = Boxes(str(tmp_path / "boxes.csv"))
    make_room([source], ("boxes",))
    assert levels(source) == {"more than 100 objects: a batch has room for 103": KEPT}
    make_room([source], ("boxes",), 2)
    assert levels(source).pop(too_many(2)) == LOST


def test_suspicious_boxes():
    boxes = [[10, 10, 50, 50], [10, 10, 50, 50], [10, 10, 50.2, 51], [0, 0, 200, 100], [60, 60, 62, 80]]
    images = [seen(objects(boxes, [0, 0, 1, 0, 0]))]
    assert found(check_boxes("train", "", images, None)) == {
        "tiny_box": 1,
        "whole_image_box": 1,
        "identical_box": 1,
        "other_class_box": 2,
    }
    ignored = np.array([False, True, True, True, True])
    assert not check_boxes("train", "", [seen(objects(boxes, ignored=ignored))], None)


def test_boxes_are_tiny_on_a_smaller_canvas():
    images = [seen(objects([[10, 10, 20, 20]]), size=(1000, 1000))]
    assert not check_boxes("train", "", images, (2000, 2000))
    assert found(check_boxes("train", "", images, (256, 256))) == {"tiny_box": 1}


def test_masks_without_foreground():
    def mask(*counted):
        return {"mask": np.array(counted)}

    images = [seen(mask(50, 50)), seen(mask(100)), seen(mask(*[0] * 255, 100))]
    assert found(check_masks("train", "", images)) == {"empty_mask": 1, "void_mask": 1}
    only = objects([[0, 0, 9, 9], [0, 0, 5, 5]], instance_masks=np.array([True, False]))
    assert found(check_masks("train", "", [seen(only)])) == {"no_instance_mask": 1}


SKELETON = Skeleton(["nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip"])


def people(count, swapped, upside_down=False):
    """People who face the camera: their left is on the image's right."""
    points = np.float32([[50, 10, 2], [70, 30, 2], [30, 30, 2], [65, 80, 2], [35, 80, 2]])
    if swapped:
        points = points[[0, 2, 1, 4, 3]]
    if upside_down:
        points[:, :2] = 100 - points[:, :2]
    return [seen(objects([[20, 0, 80, 100]], keypoints=points[None])) for _ in range(count)]


def test_left_and_right_that_are_swapped():
    assert found(check_keypoints("train", "", people(8, swapped=True), SKELETON)) == {"left_right": 2}
    assert not check_keypoints("train", "", people(8, swapped=False), SKELETON)
    assert not check_keypoints("train", "", people(8, swapped=False, upside_down=True), SKELETON)
    # backs of some and too few of all say nothing
    assert not check_keypoints("train", "", people(6, swapped=False) + people(5, swapped=True), SKELETON)
    assert not check_keypoints("train", "", people(3, swapped=True), SKELETON)


def test_keypoints_outside_of_their_box():
    (image,) = people(1, swapped=False)
    image.of("")["keypoints"][0, 0, :2] = 95, 90
    (finding,) = check_keypoints("train", "", [image], SKELETON)
    assert finding.kind == "keypoint_outside" and finding.names == ("1.png, object 1, nose",)
    image.of("")["keypoints"][0, 0, 2] = 0
    assert not check_keypoints("train", "", [image], SKELETON)


def test_classes_are_counted_and_compared():
    names = {"classes": ("a", "b", "c")}
    train = [seen(objects([[0, 0, 9, 9]] * 60, [0] * 59 + [1], ignored=np.array([False] * 60)))]
    val = [seen(objects([[0, 0, 9, 9]] * 2, [0, 1]))]
    counted = {"train": counts(train, names), "val": counts(val, names)}
    assert counted["train"]["classes"].tolist() == [59, 1, 0]
    findings = check_classes(counted, names)
    assert [(one.kind, one.level, one.split, one.names) for one in findings] == [
        ("class_missing", "warning", "train", ("c",)),
        ("class_missing", "warning", "val", ("c",)),
        ("imbalance", "warning", "train", ("b",)),
    ]
    several = {split: {"classes": number} for split, number in (("train", np.eye(3)[0]), ("val", np.eye(3)[1]))}
    assert [one.text.rpartition(": ")[2] for one in (*findings[:2], *check_classes(several, names))] == [
        "it cannot be learned",
        "its score says nothing",
        "they cannot be learned",
        "their scores say nothing",
    ]
    nothing = {"train": {"label": np.zeros(2, int)}}
    assert [one.level for one in check_classes({**nothing}, {"label": ("a", "b")})] == ["error"]


def test_labels_tags_and_masks_are_counted():
    one = {"label": 1, "tags": np.float32([1, -1, 0]), "mask": np.array([3, 4, *[0] * 253, 9])}
    names = {"label": ("a", "b"), "tags": ("x", "y", "z"), "mask": ("background", "cell", "other")}
    counted = counts([seen(one), seen({"label": -1})], names)
    assert {key: value.tolist() for key, value in counted.items()} == {
        "label": [0, 1],
        "tags": [1, 0, 0],
        "mask": [3, 4, 0],
    }


def test_the_summary_of_a_training_decodes_nothing(tmp_path):
    for name, count in (("cat", 3), ("dog", 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{number}.png").write_bytes(b"no image")
    source = Folder(str(tmp_path))
    val = Subset(source, [0])
    named = Mixed([source, Named(Folder(str(tmp_path), ["wolf", "dog", "cat"]), "wild")])
    assert summary(named, val, ("label", "wild/label"))[1:] == [
        "label: 2 classes: cat, dog; 3 of cat … 1 of dog (1 without validation data)",
        "wild/label: 3 classes: wolf, dog, cat; 3 of cat … 0 of wolf (1 without training data)",
    ]
    assert summary(source, val, ("label",)) == [
        "4 training images, 1 validation images",
        "label: 2 classes: cat, dog; 3 of cat … 1 of dog (1 without validation data)",
    ]


def test_pictures_that_are_not_read_are_skipped_and_not_mended(tmp_path):
    report = Report()
    (tmp_path / "scan.dcm").write_bytes(b"")
    list_images(tmp_path, report=report)
    assert [finding.kind for finding in check_report(report)] == ["skipped"]
