"""Masks of objects in image files: index images, and a file for each object."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.load import load_source
from visiontasks.data.sources.instances import Instances
from visiontasks.errors import DataError

SIZE = (24, 30)
CASE = Path(__file__).resolve().parents[2] / "../shared/cases/47-dsb2018/data"


def index_image():
    mask = np.zeros(SIZE, np.uint16)
    mask[2:8, 3:9], mask[12:20, 15:28], mask[5:10, 20:22] = 7, 1, 40_000
    return mask


def numbered(root, mask, suffix=""):
    for name in ("images", "instances"):
        (root / name).mkdir(exist_ok=True)
    write_image(root / "images/a.png", np.zeros((*SIZE, 3), np.uint8))
    write_image(root / f"instances/a{suffix}.png", mask)
    return Instances(str(root / "images"), str(root / "instances"))


def folders(root, *masks, name="1f"):
    for folder in ("images", "masks"):
        (root / name / folder).mkdir(parents=True)
    write_image(root / name / f"images/{name}.png", np.zeros((*SIZE, 3), np.uint8))
    for number, mask in enumerate(masks):
        write_image(root / name / f"masks/{number}.png", mask)
    return Instances(str(root), names=["nucleus"])


def penn_fudan(root, *masks):
    for number, mask in enumerate(masks):
        for folder, name, pixels in (
            ("PNGImages", f"Ped{number}.png", np.zeros((*SIZE, 3), np.uint8)),
            ("PedMasks", f"Ped{number}_mask.png", mask),
        ):
            (root / "PennFudanPed" / folder).mkdir(parents=True, exist_ok=True)
            write_image(root / "PennFudanPed" / folder / name, pixels)


def runs(count):
    mask = np.zeros(SIZE, np.uint8)
    for number in range(count):
        mask[2:9, 4 * number : 4 * number + 3] = number + 1
    return mask


def test_numbers_of_objects_in_folders_whose_names_say_nothing(tmp_path):
    penn_fudan(tmp_path, *map(runs, (2, 1, 3, 1)))
    splits, message = detect(tmp_path, ["boxes", "classes", "instance_masks"])
    assert splits["train"]["source"] == "instances", message
    source = Instances(**{key: value for key, value in splits["train"].items() if key != "source"})
    assert [len(source[number].boxes) for number in range(4)] == [2, 1, 3, 1]
    assert source[0].boxes.tolist() == [[0, 2, 3, 9], [4, 2, 7, 9]]
    assert detect(tmp_path, ["mask"])[0]["train"]["source"] == "masks"
    masks = load_source(detect(tmp_path, ["mask"])[0]["train"], "train")
    assert any("as numbers of objects" in what for what, *_ in masks.report.items())


@pytest.mark.parametrize("masks", [(2, 2, 2, 2), (1, 1, 1)], ids=["classes in all", "foreground"])
def test_masks_of_classes_are_no_numbers_of_objects(tmp_path, masks):
    penn_fudan(tmp_path, *map(runs, masks))
    assert detect(tmp_path, ["instance_masks"])[0]["train"]["source"] == "masks"
    source = load_source(detect(tmp_path, ["mask"])[0]["train"], "train")
    assert not any("as numbers of objects" in what for what, *_ in source.report.items())


def test_a_class_that_an_image_lacks_is_no_number_of_objects(tmp_path):
    penn_fudan(tmp_path, runs(2), np.where(runs(2) == 1, 0, runs(2)).astype(np.uint8), runs(3))
    assert detect(tmp_path, ["instance_masks"])[0]["train"]["source"] == "masks"


def test_a_test_set_without_masks_is_no_reason_to_read_nothing(tmp_path):
    folders(tmp_path / "train", runs(1))
    (tmp_path / "test/2f/images").mkdir(parents=True)
    write_image(tmp_path / "test/2f/images/2f.png", np.zeros((*SIZE, 3), np.uint8))
    splits, _ = detect(tmp_path, ["instance_masks"])
    assert splits["train"]["source"] == "instances" and splits["val"] is None


@pytest.mark.parametrize("suffix", ["", "_mask"])
def test_each_number_of_an_index_image_is_an_object(suffix, tmp_path):
    source = numbered(tmp_path, index_image(), suffix)
    sample = source[0]
    assert sample.boxes.tolist() == [[15, 12, 28, 20], [3, 2, 9, 8], [20, 5, 22, 10]]  # 1, 7, 40,000
    np.testing.assert_array_equal(sample.instance_masks, [index_image() == number for number in (1, 7, 40_000)])
    np.testing.assert_array_equal(sample.mask, index_image() > 0)
    assert source.names["classes"] == ("object",) and source.names["mask"] == ("background", "object")


def test_images_turned_by_exif_have_masks_of_the_upright_image(tmp_path):
    numbered(tmp_path, index_image())
    (tmp_path / "images/a.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((*SIZE[::-1], 3), np.uint8)).save(tmp_path / "images/a.jpg", exif=exif)
    sample = Instances(str(tmp_path / "images"), str(tmp_path / "instances"))[0]
    assert sample.image.shape == (*SIZE, 3)
    np.testing.assert_array_equal(sample.mask, index_image() > 0)


def test_each_file_of_a_folder_is_an_object(tmp_path):
    masks = [255 * (index_image() == number).astype(np.uint8) for number in (1, 7)]
    source = folders(tmp_path, *masks, np.zeros(SIZE, np.uint8))
    np.testing.assert_array_equal(source[0].instance_masks, [mask > 0 for mask in masks])
    assert source.report.count("mask without a pixel, skipped") == 1 and source.names["classes"] == ("nucleus",)
    parts, _ = detect(tmp_path, ("classes", "boxes", "instance_masks"))
    assert parts["train"] == {"source": "instances", "images": str(tmp_path)}


def test_folders_that_are_not_of_one_image_are_reported(tmp_path):
    what = "folder without a single image in images, or without masks, skipped"
    for name, images, masks in (("two", 2, True), ("none", 0, True), ("no_masks", 1, False)):
        for folder in ("images", "masks") if masks else ("images",):
            (tmp_path / name / folder).mkdir(parents=True)
        for number in range(images):
            write_image(tmp_path / name / f"images/{number}.png", np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(DataError, match=rf"got none(.|\n)*{what}"):
        Instances(str(tmp_path))
    source = folders(tmp_path, 255 * (index_image() > 6).astype(np.uint8))
    assert len(source) == 1 and source.report.count(what) == 3


def two_parts(value):
    mask = np.zeros(SIZE, np.uint8)
    mask[2:8, 3:9] = mask[12:20, 15:28] = value
    return mask


@pytest.mark.parametrize("value", [1, 255])
def test_masks_of_one_value_are_no_numbers_of_objects(value, tmp_path):
    with pytest.raises(DataError, match=rf"components: .*got {value} alone in all 1, and in 1 of them several"):
        numbered(tmp_path, two_parts(value))
    folder = str(tmp_path / "images"), str(tmp_path / "instances")
    assert Instances(*folder, components=True)[0].boxes.tolist() == [[3, 2, 9, 8], [15, 12, 28, 20]]
    assert Instances(*folder, components=False)[0].boxes.tolist() == [[3, 2, 28, 20]]


def test_an_object_of_several_parts_among_others_is_one(tmp_path):
    mask = two_parts(1)
    mask[21:23, 0:3] = 2
    assert len(numbered(tmp_path, mask)[0].boxes) == 2


def test_wrong_files_are_errors_that_name_them(tmp_path):
    with pytest.raises(DataError, match=r"a.png: expected the height and width \(24, 30\) .* got \(9, 9\)"):
        numbered(tmp_path, np.ones((9, 9), np.uint8))
    with pytest.raises(DataError, match="nothing to train on"):
        numbered(tmp_path, np.zeros(SIZE, np.uint8))
    with pytest.raises(DataError, match=r"names: expected the name of one class"):
        Instances(str(tmp_path / "images"), str(tmp_path / "instances"), names=["a", "b"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"images: expected images with masks, got none. masks of objects"):
        Instances(str(tmp_path / "empty"))


def test_a_folder_as_people_have_it():
    if not CASE.is_dir():
        pytest.skip(f"needs {CASE}")
    parts, _ = detect(CASE, ("classes", "boxes", "instance_masks"))
    assert parts["train"]["source"] == "instances" and parts["train"]["images"].endswith("stage1_train")
    source = Instances(parts["train"]["images"])
    assert len(source) == 3 and [len(source[i].boxes) for i in range(3)] == [3, 3, 3]
    detected, _ = detect(CASE, ("mask",))
    assert detected["train"]["source"] == "instances"
