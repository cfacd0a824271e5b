"""Lists of the images of splits beside the images."""

import numpy as np
import pytest

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.load import load_source, load_sources
from visiontasks.data.sources.folder import Folder
from visiontasks.data.split_lists import NOT_USED
from visiontasks.errors import DataError

CLASSES = ("apple_pie", "sushi")


def food(root, folder="images", count=4):
    """ROOT/images/CLASS/10.jpg, 11.jpg and so on."""
    for name in CLASSES:
        for number in range(count):
            path = root / folder / name / f"{10 + number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, np.full((8, 9, 3), 10 * number, np.uint8))


def put(root, name, *lines):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(lines))


def lines(*numbers, suffix=".jpg", before="", after=""):
    return [f"{before}{name}/{number}{suffix}{after}" for name in CLASSES for number in numbers]


def ids(source):
    return [source[number].id for number in range(len(source))]


@pytest.mark.parametrize(
    ("folder", "files", "form"),
    [
        ("images", ("meta/train.txt", "meta/test.txt"), {"suffix": ""}),  # food-101
        ("Images", ("TrainImages.txt", "TestImages.txt"), {}),  # MIT indoor scenes
        ("images", ("train.txt", "val.txt"), {"before": "images/"}),
        ("images", ("splits/train_list.txt", "splits/val_list.txt"), {"after": " 3"}),
        ("", ("train.txt", "test.txt"), {}),
        ("", ("lists/trainval.txt", "lists/test.txt"), {}),
    ],
)
def test_lists_of_splits_beside_class_folders(tmp_path, folder, files, form):
    food(tmp_path, folder)
    put(tmp_path, files[0], *lines(10, 11, 12, **form))
    put(tmp_path, files[1], *lines(13, **form))
    splits, said = detect(tmp_path, ["label"])
    assert [split["list"] for split in splits.values()] == [str(tmp_path / file) for file in files]
    assert ("test set used for validation" in said) == ("test" in files[1].lower())
    train, val = load_sources(splits, ("label",), 0.2, 0)
    assert ids(train) == lines(10, 11, 12) and ids(val) == lines(13)
    assert train.names == val.names == {"label": CLASSES}
    assert train.report.count("list of images that leaves out 2 others") == 1 and not train.report.count(NOT_USED)


def test_lists_of_splits_are_found_a_folder_deeper(tmp_path):
    food(tmp_path / "food-101")
    put(tmp_path, "food-101/meta/train.txt", *lines(10, 11, suffix=""))
    put(tmp_path, "food-101/meta/test.txt", *lines(12, 13, suffix=""))
    splits, said = detect(tmp_path, ["label"])
    assert splits["val"]["list"].endswith("meta/test.txt") and "entered" in said


def test_the_two_parts_of_cub_200(tmp_path):
    food(tmp_path)
    names = lines(10, 11, 12, 13)
    put(tmp_path, "images.txt", *(f"{number} {name}" for number, name in enumerate(names, 1)))
    put(tmp_path, "train_test_split.txt", *(f"{number} {int(number % 4 != 0)}" for number in range(1, 9)))
    put(tmp_path, "image_class_labels.txt", *(f"{number} 1" for number in range(1, 9)))
    put(tmp_path, "classes.txt", "1 apple_pie", "2 sushi")
    splits, said = detect(tmp_path, ["label"])
    assert [split["split"] for split in splits.values()] == ["train", "test"] and "test set" in said
    train, val = load_sources(splits, ("label",), 0.2, 0)
    assert ids(train) == lines(10, 11, 12) and ids(val) == lines(13)


@pytest.mark.parametrize(
    "files",
    [
        {"labels/train1.txt": lines(10), "labels/test1.txt": lines(11)},  # the Describable Textures: one of ten
        {"train.txt": lines(10), "train_list.txt": lines(11), "test.txt": lines(12)},
        {"train.txt": lines(10, 11)},
        {"train.txt": lines(10, 11), "test.txt": lines(11, 12)},
    ],
)
def test_lists_of_which_it_is_not_certain_that_they_are_the_splits_are_said(tmp_path, files):
    food(tmp_path)
    for name, text in files.items():
        put(tmp_path, name, *text)
    splits, _ = detect(tmp_path, ["label"])
    assert splits["train"] == {"source": "folder", "root": str(tmp_path / "images")} and splits["val"] is None
    source = load_source(splits["train"], "train")
    assert len(source) == 8 and source.report.items() == [
        (NOT_USED, [str(tmp_path / name) for name in sorted(files)], False)
    ]


def test_lists_of_matlab_are_said_and_text_of_something_else_is_not(tmp_path):
    food(tmp_path, "Images")
    put(tmp_path, "lists/train_list.mat", "x")
    put(tmp_path, "train.txt", "learning rate 0.1", "epochs 5")
    put(tmp_path, "test.txt", "accuracy 0.9")
    source = load_source(detect(tmp_path, ["label"])[0]["train"], "train")
    assert source.report.items() == [
        (f"{NOT_USED}: MATLAB's format is not read", [str(tmp_path / "lists/train_list.mat")], False)
    ]


def test_names_of_a_list_that_are_missing_are_counted(tmp_path):
    food(tmp_path)
    put(tmp_path, "x.txt", "# comment", *lines(10, 11), "sushi/99.jpg")
    source = Folder(str(tmp_path / "images"), list=str(tmp_path / "x.txt"))
    assert len(source) == 4 and source.report.count("image missing, skipped") == 1
    put(tmp_path, "x.txt", "a/b.jpg")
    with pytest.raises(DataError, match=r"x\.txt: expected image files, got none of the 1"):
        Folder(str(tmp_path / "images"), list=str(tmp_path / "x.txt"))
    with pytest.raises(DataError, match="expected a text file of image names"):
        Folder(str(tmp_path / "images"), list=str(tmp_path / "y.txt"))


def test_lists_beside_masks(tmp_path):
    """As of Oxford-IIIT Pet: in the folder of annotations, with a class behind each name."""
    for number in range(6):
        for folder in ("images", "annotations/trimaps"):
            path = tmp_path / folder / f"Abyssinian_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, np.full((8, 9), number % 3, np.uint8))
    put(tmp_path, "annotations/trainval.txt", *(f"Abyssinian_{number} 1 1 1" for number in range(4)))
    put(tmp_path, "annotations/test.txt", *(f"Abyssinian_{number} 1 1 1" for number in range(4, 6)))
    splits, said = detect(tmp_path, ["mask"])
    assert splits["val"]["list"] == str(tmp_path / "annotations/test.txt") and "test set" in said
    assert len(load_source(splits["train"], "train")) == 4
    (tmp_path / "annotations/test.txt").unlink()
    source = load_source(detect(tmp_path, ["mask"])[0]["train"], "train")
    assert len(source) == 6 and source.report.count(NOT_USED) == 1


def test_a_list_beside_images_and_masks_that_is_not_used_is_said(tmp_path):
    for number in range(3):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_image(tmp_path / folder / f"{number}.png", np.full((8, 9), number % 2, np.uint8))
    put(tmp_path, "train.txt", "0", "1")
    source = load_source(detect(tmp_path, ["mask"])[0]["train"], "train")
    assert len(source) == 3 and source.report.items() == [(NOT_USED, [str(tmp_path / "train.txt")], False)]
