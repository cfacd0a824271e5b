"""Text lists of images and classes."""

import numpy as np
import pytest

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.load import load_sources
from visiontasks.data.sources.listed import Listed
from visiontasks.errors import DataError

BREEDS = {"Abyssinian": 1, "Bengal": 2, "pug": 3}


def images(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name, np.full((8, 9, 3), 20, np.uint8))


def pets(root):
    """As Oxford-IIIT Pet, with its boxes of heads."""
    rows = [
        f"{breed}_{number} {value} {1 + (breed == 'pug')} 1" for breed, value in BREEDS.items() for number in range(3)
    ]
    images(root, *(f"images/{row.split()[0]}.jpg" for row in rows))
    for row in rows:
        file = root / f"annotations/xmls/{row.split()[0]}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        corners = "<xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>6</ymax>"
        kind = f"<object><name>{'dog' if 'pug' in row else 'cat'}</name><bndbox>{corners}</bndbox></object>"
        file.write_text(f"<annotation><size><width>9</width><height>8</height></size>{kind}</annotation>")
    (root / "annotations/list.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n" + "\n".join(rows))
    (root / "annotations/trainval.txt").write_text("\n".join(row for row in rows if "_2" not in row))
    (root / "annotations/test.txt").write_text("\n".join(row for row in rows if "_2" in row))


def test_the_breeds_of_pets_are_their_classes_and_a_detector_gets_their_heads(tmp_path):
    pets(tmp_path)
    splits, said = detect(tmp_path, ["label"])
    assert splits["train"]["list"] == str(tmp_path / "annotations/trainval.txt")
    assert "read as listed, with its test set used for validation" in said
    train, val = load_sources(splits, ("label",), 0.2, 0)
    assert train.names == val.names == {"label": tuple(BREEDS)}
    assert (len(train), len(val)) == (6, 3) and [val[number].label for number in range(3)] == [0, 1, 2]
    splits, _ = detect(tmp_path, ["boxes", "classes"])
    assert splits["train"]["source"] == "voc"


@pytest.mark.parametrize(
    ("rows", "classes"),
    [
        ("a.jpg 0\nb.jpg 10\nc.jpg 2\nd.jpg 0\n", ("0", "2", "10")),
        ("a.jpg\thot dog\nb.jpg\tpizza\nc.jpg\tpizza\nd.jpg\tpizza\n", ("hot dog", "pizza")),
        ("# file, class\na,cat\nb,cow\nc,cow\nd,cow\n", ("cat", "cow")),
    ],
)
def test_forms_of_a_list(tmp_path, rows, classes):
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    (tmp_path / "train_list.txt").write_text(rows)
    (tmp_path / "val_list.txt").write_text(rows.splitlines()[-1])
    splits, _ = detect(tmp_path, ["label"])
    train, val = load_sources(splits, ("label",), 0.2, 0)
    assert type(train).__name__ == "Listed" and train.names["label"] == val.names["label"] == classes
    assert val[0].label == train[3].label and len(train) == 4


@pytest.mark.parametrize(
    "rows",
    [
        "a.jpg 0\nb.jpg 1\n",  # each its own
        "a.jpg 0.5\nb.jpg 1.5\nc.jpg 0.5\n",  # scores
        "a.jpg 1 0 1\nb.jpg 0 1 1\nc.jpg 0 1 1\n",  # flags
        "a.jpg\nb.jpg\nc.jpg\n",
        "x.jpg 0\ny.jpg 1\nz.jpg 1\n",
    ],
)
def test_other_lists_are_not_read(tmp_path, rows):
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    for name in ("train", "val"):
        (tmp_path / f"{name}.txt").write_text(rows)
    assert Listed.recognize(tmp_path) is None


def test_the_names_of_class_folders_say_more_than_numbers(tmp_path):
    names = [f"{kind}/{number}.jpg" for kind in ("cat", "dog") for number in range(3)]
    images(tmp_path, *names)
    for split, taken in (("train", (0, 1)), ("test", (2,))):
        rows = (f"{name} {name.startswith('d'):d}" for name in names if int(name[4]) in taken)
        (tmp_path / f"{split}.txt").write_text("\n".join(rows))
    splits, _ = detect(tmp_path, ["label"])
    train, val = load_sources(splits, ("label",), 0.2, 0)
    assert splits["train"]["source"] == "folder" and train.names["label"] == ("cat", "dog")
    assert (len(train), len(val)) == (4, 2)


def test_wrong_lists_are_errors(tmp_path):
    images(tmp_path, "a.jpg", "b.jpg")
    file = tmp_path / "train.txt"
    for rows, message in (
        ("a.jpg cat\na.jpg dog\n", "expected one class for a.jpg, got 'cat' and 'dog'"),
        ("a.jpg cat\nb.jpg\n", "expected an image and its class in each line, got 'b.jpg'"),
        ("", "expected an image and its class"),
        ("y.jpg cat\n", "expected image files, got none of the 1"),
    ):
        file.write_text(rows)
        with pytest.raises(DataError, match=message):
            Listed(str(file), str(tmp_path))
    file.write_text("a.jpg cat\nb.jpg cow\nc.jpg cow\n")
    with pytest.raises(DataError, match="expected classes among cat, dog, got 'cow'"):
        Listed(str(file), str(tmp_path), names=["cat", "dog"])
    source = Listed(str(file), str(tmp_path))
    assert len(source) == 2 and source.report.count("image missing, skipped") == 1


@pytest.mark.parametrize("place", ["", "annotations"])
def test_a_list_of_classes_names_the_numbers(tmp_path, place):
    images(tmp_path, *(f"images/{name}.jpg" for name in "abcde"))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/train.txt").write_text("a.jpg 0\nb.jpg 2\nc.jpg 0\n")
    (tmp_path / "annotations/val.txt").write_text("d.jpg 0\ne.jpg 0\n")
    (tmp_path / place / "classes.txt").write_text("rose\naster\nlily\n")
    file, folder = (str(tmp_path / one) for one in ("annotations/train.txt", "images"))
    source = Listed(file, folder)
    assert source.names["label"] == ("rose", "aster", "lily") and [label for _, label in source.items] == [0, 2, 0]
    assert source.report.count("class ids, named by the list of classes beside them") == 1
    assert Listed(file, folder, names=["0", "2"]).names["label"] == ("0", "2")


def test_a_class_that_only_the_validation_list_has(tmp_path):
    images(tmp_path, *(f"{name}.jpg" for name in "abcde"))
    (tmp_path / "train.txt").write_text("a.jpg 9\nb.jpg 10\nc.jpg 9\n")
    (tmp_path / "val.txt").write_text("d.jpg 2\ne.jpg 9\n")
    train, val = load_sources(tmp_path, ["label"], 0.2, 0)
    assert train.names == val.names == {"label": ("2", "9", "10")}
    assert train.report.count("class that only the validation set has, so it is not learned") == 1
