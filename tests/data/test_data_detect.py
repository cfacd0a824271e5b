"""Which source reads a folder."""

from pathlib import Path

import numpy as np
import pytest

from visiontasks.data.detect import detect, same_images
from visiontasks.data.images import write_image
from visiontasks.data.sources.folder import Folder
from visiontasks.errors import DataError
from visiontasks.registry import catalog

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


def lay_out(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            path.write_text("path,tags\na.png,cat;dog\n")
        elif path.suffix in (".png", ".jpg"):
            write_image(path, np.full((4, 5, 3), len(name), np.uint8))
        else:
            path.write_text("x")


CLASSES = ("cat/a.jpg", "dog/a.jpg")
PAIRS = ("images/a.png", "masks/a.png")


def parted(names, *splits):
    return [f"{split}/{name}" for split in splits for name in names]


@pytest.mark.parametrize(
    ("names", "source", "train", "val"),
    [
        (CLASSES, "folder", {"root": ""}, None),
        (parted(CLASSES, "train", "val"), "folder", {"root": "train"}, {"root": "val"}),
        (parted(CLASSES, "train", "valid"), "folder", {"root": "train"}, {"root": "valid"}),
        (parted(CLASSES, "train", "validation", "test"), "folder", {"root": "train"}, {"root": "validation"}),
        (parted(CLASSES, "Train", "Test"), "folder", {"root": "Train"}, {"root": "Test"}),
        (parted(CLASSES, "train"), "folder", {"root": "train"}, None),
        ((*CLASSES, ".ipynb_checkpoints/a.jpg"), "folder", {"root": ""}, None),
        (("boots/a.jpg", "trainers/a.jpg", "valley/a.jpg"), "folder", {"root": ""}, None),
        (("bus/a.jpg", "car/a.jpg", "train/a.jpg"), "folder", {"root": ""}, None),
        (PAIRS, "masks", {"images": "images", "masks": "masks"}, None),
        (
            ("images/train/a.png", "masks/train/a.png", "images/val/a.png", "masks/val/a.png", "annotations/x.json"),
            "masks",
            {"images": "images/train", "masks": "masks/train"},
            {"images": "images/val", "masks": "masks/val"},
        ),
        (
            parted(PAIRS, "train", "test"),
            "masks",
            {"images": "train/images", "masks": "train/masks"},
            {"images": "test/images", "masks": "test/masks"},
        ),
        (("labels.csv", "a.png"), "csv", {"path": "labels.csv", "root": ""}, None),
        (("labels.csv", "photos/a.png"), "csv", {"path": "labels.csv", "root": "photos"}, None),
        (
            ("train.csv", "val.csv", "a.png"),
            "csv",
            {"path": "train.csv", "root": ""},
            {"path": "val.csv", "root": ""},
        ),
    ],
)
def test_layouts_are_recognised_and_their_arguments_work(tmp_path, names, source, train, val):
    lay_out(tmp_path, *names)
    splits, message = detect(tmp_path)
    for split, expected in (("train", train), ("val", val)):
        if expected is None:
            assert splits[split] is None
            continue
        wanted = {key: str(tmp_path / place) if place else str(tmp_path) for key, place in expected.items()}
        assert splits[split] == {"source": source, **wanted}
        arguments = {key: value for key, value in splits[split].items() if key != "source"}
        made = catalog.find("data/sources", source)
        catalog.check_arguments(made, arguments, split)
        if source != "masks":  # the masks here are colors
            assert len(made.load()(**arguments)) > 0
    assert str(tmp_path) in message and source in message and "\n" not in message


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("readme.md",),
        ("train2017/a.jpg", "val2017/b.jpg", "annotations/x.json"),
        ("images/a.jpg", "labels/a.txt"),
        ("JPEGImages/a.jpg", "Annotations/a.txt", "ImageSets/x.txt"),
        ("data.yaml", "images/a.jpg", "labels/a.txt"),
    ],
)
def test_unknown_layouts_list_the_known_ones(tmp_path, names):
    lay_out(tmp_path, *names)
    with pytest.raises(DataError) as caught:
        detect(tmp_path)
    for name in ("coco", "voc", "yolo", "boxes", "folder", "masks", "csv"):
        layout = catalog.find("data/sources", name).load().LAYOUT
        assert f"{name}: {layout}" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("a.jpg", "b.jpg"), "folder: 2 images lie in .* itself, such as a.jpg; a class is a folder"),
        (("train/cat.0.jpg", "train/dog.0.jpg"), "folder: 2 images lie in .*train itself, such as cat.0.jpg"),
        (("one/a.jpg",), "folder: .* holds one folder of images, one; two or more classes are needed"),
    ],
)
def test_what_comes_near_a_layout_says_why_it_is_not_it(tmp_path, names, reason):
    lay_out(tmp_path, *names)
    with pytest.raises(DataError, match=f"(?s)What comes near:.*{reason}.*--help sources"):
        detect(tmp_path)


def test_a_coco_file_whose_images_are_elsewhere_says_so(tmp_path):
    (tmp_path / "annotations").mkdir()
    images = ", ".join(f'{{"id": {number}, "file_name": "{number}.jpg"}}' for number in range(4))
    text = f'{{"images": [{images}], "annotations": [], "categories": []}}'
    (tmp_path / "annotations/instances_train.json").write_text(text)
    with pytest.raises(DataError, match="coco: COCO file .*none of its images below .*, such as 0.jpg, 1.jpg, 2.jpg"):
        detect(tmp_path)


def test_the_one_data_set_in_a_folder_is_entered_and_of_two_none(tmp_path):
    lay_out(tmp_path, "set/cat/a.jpg", "set/dog/a.jpg", "docs/readme.md")
    splits, message = detect(tmp_path)
    assert splits["train"] == {"source": "folder", "root": str(tmp_path / "set")}
    assert f"{tmp_path / 'set'} (entered, because nothing else in {tmp_path} is a data set): read as folder" in message
    lay_out(tmp_path, "other/cat/a.jpg", "other/dog/a.jpg")
    with pytest.raises(DataError, match="data sets of their own; give one: .*other, .*set"):
        detect(tmp_path)


def test_folders_that_begin_with_the_name_of_a_split_are_no_classes(tmp_path):
    lay_out(tmp_path, "train-jpg/a.jpg", "test-jpg/b.jpg")
    with pytest.raises(DataError, match="no source recognizes"):
        detect(tmp_path, ["label"])


def test_a_table_of_boxes_is_no_table_of_tags(tmp_path):
    lay_out(tmp_path, "a.png")
    (tmp_path / "boxes.csv").write_text("path,x1,y1,x2,y2,name\na.png,1,1,3,2,cat\n")
    for wanted in ((), ("tags",)):
        splits, message = detect(tmp_path, wanted)
        assert splits["train"]["source"] == "boxes" and "could also" not in message
    (tmp_path / "boxes.csv").write_text("path,x1,y1,x2,name\na.png,3,4,50,cat\n")
    with pytest.raises(DataError, match="no source recognizes the layout"):
        detect(tmp_path)


def test_precedence_and_what_the_heads_want(tmp_path):
    lay_out(tmp_path, *CLASSES, "tags.csv", "a.png")  # two layouts in one folder
    splits, message = detect(tmp_path)
    assert splits["train"]["source"] == "folder" and "could also be read as csv" in message
    assert detect(tmp_path, wanted=["tags"])[0]["train"]["source"] == "csv"
    assert detect(tmp_path, wanted=["mask"])[0]["train"]["source"] == "folder"


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match="data: expected a folder"):
        detect(tmp_path / "gone")


def test_item_16_the_same_image_in_both_parts(tmp_path):
    lay_out(tmp_path, *parted(CLASSES, "train", "val"))
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        write_image(tmp_path / split / "cat/own.png", rng.integers(0, 256, (4, 5, 3), np.uint8))
    shared = rng.integers(0, 256, (9, 9, 3), np.uint8)
    write_image(tmp_path / "train/cat/x.png", shared)
    write_image(tmp_path / "val/dog/y.png", shared)
    for path in tmp_path.glob("*/*/a.jpg"):
        path.unlink()
    train, val = Folder(str(tmp_path / "train"), names=["cat", "dog"]), Folder(str(tmp_path / "val"))
    assert same_images(train, val) == [(str(tmp_path / "train/cat/x.png"), str(tmp_path / "val/dog/y.png"))]
    assert val.report.count("image that is in the training set too") == 1


def test_item_16_sources_without_files_share_nothing():
    shapes = catalog.find("data/sources", "shapes").load()
    assert same_images(shapes(count=3), shapes(count=3)) == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not beside this checkout")
@pytest.mark.parametrize(
    ("name", "wanted", "source"),
    [
        ("nuclei", "mask", "masks"),
        ("nuclei", "boxes", "coco"),
        ("flowers", "label", "folder"),
        ("cifar10", "label", "folder"),
        ("coco-mini", "boxes", "coco"),
        ("lsp", "keypoints", "coco"),
        ("bccd", "boxes", "voc"),
        ("bccd/BCCD", "boxes", "voc"),
    ],
)
def test_real_data_sets(name, wanted, source):
    splits, _ = detect(SHARED / name, [wanted])
    for split in ("train", "val"):
        assert splits[split]["source"] == source
        arguments = {key: value for key, value in splits[split].items() if key != "source"}
        made = catalog.find("data/sources", source).load()(**arguments)
        assert wanted in made.fields and getattr(made[len(made) - 1], wanted) is not None


def test_a_test_split_used_for_validation_is_reported(tmp_path):
    lay_out(tmp_path, *parted(CLASSES, "train", "Test"))
    assert "with its test set used for validation" in detect(tmp_path)[1]
    lay_out(tmp_path, *parted(CLASSES, "val"))
    assert "with a validation set" in detect(tmp_path)[1]


def test_one_class_is_enough_where_a_model_knows_them(tmp_path):
    lay_out(tmp_path, "cat/a.jpg")
    with pytest.raises(DataError, match="one folder of images, cat; two or more classes are needed"):
        detect(tmp_path, ["label"])
    splits, _ = detect(tmp_path, ["label"], known=True)
    assert splits == {"train": {"source": "folder", "root": str(tmp_path)}, "val": None}
    lay_out(tmp_path, "runs/.visiontasks", "runs/drawing.png")
    assert detect(tmp_path, ["label"], known=True)[0] == splits


def test_known_classes_change_nothing_where_a_layout_is_recognized(tmp_path):
    lay_out(tmp_path, *PAIRS)
    assert detect(tmp_path, ["mask"], known=True) == detect(tmp_path, ["mask"])
    lay_out(tmp_path / "flat", "a.jpg")
    with pytest.raises(DataError, match="a class is a folder"):
        detect(tmp_path / "flat", ["label"], known=True)


def test_a_data_set_is_found_two_folders_below_and_two_of_them_are_named(tmp_path):
    lay_out(tmp_path, "images/Images/cat/a.jpg", "images/Images/dog/a.jpg", "annotations/Annotation/cat/a")
    splits, message = detect(tmp_path, ["label"])
    assert splits["train"] == {"source": "folder", "root": str(tmp_path / "images/Images")} and "entered" in message
    lay_out(tmp_path, "more/Images/cat/a.jpg", "more/Images/dog/a.jpg")
    with pytest.raises(DataError, match="give one: .*images/Images, .*more/Images"):
        detect(tmp_path, ["label"])


def test_a_folder_is_not_entered_for_what_the_heads_do_not_learn(tmp_path):
    lay_out(tmp_path, "images/cat/a.jpg", "images/dog/a.jpg", "boxes.dat")
    assert detect(tmp_path, ["label"])[0]["train"]["source"] == "folder"
    with pytest.raises(DataError, match="no source recognizes"):
        detect(tmp_path, ["boxes", "classes"])
