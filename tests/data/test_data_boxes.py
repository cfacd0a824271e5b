"""Tables of boxes."""

import os

import numpy as np
import pytest

from visiontasks.data.images import write_image
from visiontasks.data.load import load_data
from visiontasks.data.sources.boxes import Boxes
from visiontasks.errors import DataError

HEIGHT, WIDTH = 20, 30
HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


@pytest.fixture
def root(tmp_path):
    for name in ("a.jpg", "b.jpg", "größe.jpg"):
        write_image(tmp_path / name, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return tmp_path


def table(root, text, encoding="utf-8", **arguments):
    path = root / "boxes.csv"
    path.write_bytes(text.encode(encoding))
    return Boxes(str(path), **arguments)


def test_rows_are_gathered_by_image(root):
    text = HEADER + "a.jpg,30,20,dog,1,2,10,12\nb.jpg,30,20,cat,0,0,5,5\na.jpg,30,20,cat,0.5,0,30,20\n"
    source = table(root, text)
    assert source.names == dict.fromkeys(("classes", "tags", "label"), ("cat", "dog")) and len(source) == 2
    sample = source[0]
    assert sample.boxes.tolist() == [[1, 2, 10, 12], [0.5, 0, 30, 20]] and sample.classes.tolist() == [1, 0]
    assert sample.tags.tolist() == [1, 1] and sample.label == 0
    assert (sample.id, sample.path) == ("a.jpg", str(root / "a.jpg"))


@pytest.mark.parametrize(
    "text",
    [
        "image;x1;y1;x2;y2;label\na.jpg;1;2;10;12;cat\nb.jpg;;;;;\n",
        "Image_Path\tLabel Name\tLeft\tTop\tRight\tBottom\na.jpg\tcat\t1\t2\t10\t12\nb.jpg\t\t\t\t\t\n",
        "ymax,ymin,xmax,xmin,name,path\r\n12,2,10,1,cat,a\r\n,,,,,b\r\n",
    ],
)
def test_columns_by_other_names_and_an_image_without_objects(root, text):
    source = table(root, text)
    assert source[0].boxes.tolist() == [[1, 2, 10, 12]] and source.names["tags"] == ("cat",)
    assert source[1].boxes.shape == (0, 4) and source[1].label == -1 and source[1].tags.tolist() == [0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_item_54_encodings(root, encoding):
    source = table(root, HEADER + "größe.jpg,,,Bär,1,2,10,12\n", encoding)
    assert source.names["classes"] == ("Bär",) and source[0].id == "größe.jpg"


def test_items_20_and_24_to_27(root):
    rows = ["a.jpg,,,cat,1,2,10,12", "gone.jpg,,,cat,1,2,10,12", "a.jpg,,,cat,5,2,5,12", "a.jpg,,,cat,nan,2,5,12"]
    source = table(root, HEADER + "\n".join([*rows, "a.jpg,,,cat,1,2,99,12", "a.jpg,,,cat,1,2,30.6,12"]))
    assert source[0].boxes.tolist() == [[1, 2, 10, 12], [1, 2, 30, 12], [1, 2, 30, 12]] and len(source) == 1
    for what in (
        "box without extent, skipped",
        "box of NaN or infinity, skipped",
        "box that exceeds its image, clipped",
    ):
        assert source.report.count(what) == 1
    assert "line 4" in str(source.report) and "image missing, skipped" in str(source.report)


def test_names_fix_the_order(root):
    text = HEADER + "a.jpg,,,cat,1,2,10,12\n"
    assert table(root, text, names=["dog", "cat"])[0].classes.tolist() == [1]
    with pytest.raises(DataError, match="line 2: expected a class among names .dog., got 'cat'.*Set names=.dog,cat."):
        table(root, text, names=["dog"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,xmin,ymin,xmax,class\na.jpg,1,2,3,cat\n", "expected columns file, .* without ymax; rename"),
        (HEADER + "a.jpg,,,cat,1,x,10,12\n", "line 2: expected four numbers, got 1, x, 10, 12"),
        (HEADER + "a.jpg,,,,1,2,10,12\n", "line 2: expected a class beside the box"),
        (HEADER + "a.jpg,,,cat,,,,\n", "line 2: expected four numbers"),
        (HEADER + "a.jpg,,,cat,0.1,0.2,0.9,1\n", "expected boxes in pixels, .* shares of the image"),
        (HEADER + "a.jpg,,,,,,,\n", "nothing to train on"),
        (HEADER + "gone.jpg,,,cat,1,2,10,12\n", "none of the 1 that it names in .*gone.jpg.; give the folder"),
        (HEADER + "../x.jpg,,,cat,1,2,10,12\n", r"line 2: \.\./x\.jpg: expected a file in"),
        ("", "expected a first row"),
    ],
)
def test_wrong_tables_name_the_line(root, text, message):
    with pytest.raises(DataError, match=f"boxes.csv.*{message}"):
        table(root, text)


def test_item_77_a_link_of_the_user_is_followed_and_a_name_that_leads_out_is_not(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_image(elsewhere / "x.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    os.symlink(elsewhere, root / "link")
    assert len(table(root, HEADER + "link/x.jpg,,,cat,1,2,10,12\n")) == 1
    with pytest.raises(DataError, match="line 2: ../y.jpg: expected a file in"):
        table(root, HEADER + "../y.jpg,,,cat,1,2,10,12\n")


def test_parts_in_two_tables(root):
    (root / "train.csv").write_text(HEADER + "a.jpg,,,cat,1,2,10,12\na.jpg,,,dog,1,2,10,12\n")
    (root / "val.csv").write_text(HEADER + "b.jpg,,,dog,1,2,10,12\n")
    train, val = load_data(str(root), batch=1, fields=("boxes", "classes"), size=(32, 32), workers=0)
    assert isinstance(train.source, Boxes) and val.source.names == train.source.names
    assert val.source[0].classes.tolist() == [1]


def test_a_table_in_the_folder_of_each_part(tmp_path):
    """As Roboflow exports them."""
    for split, rows in (
        ("train", "a.jpg,,,cat,0,2,10,12\na.jpg,,,dog,1,2,10,12\n"),
        ("valid", "a.jpg,,,cat,1,2,10,12\n"),
    ):
        write(tmp_path / split / "a.jpg")
        (tmp_path / split / "_annotations.csv").write_text(HEADER + rows)
    train, val = load_data(str(tmp_path), batch=1, size=(32, 32), workers=0)
    assert isinstance(train.source, Boxes) and train.source[0].classes.tolist() == [0, 1]
    assert val.source.root == tmp_path / "valid" and val.source[0].classes.tolist() == [0]
    assert {"boxes", "classes"} <= {*train.fields}  # without being asked for


def test_images_in_a_folder_beside(tmp_path):
    write(tmp_path / "photos/a.jpg")
    (tmp_path / "labels.csv").write_text(HEADER + "a.jpg,,,cat,1,2,10,12\n")
    plan = {"train": {"path": str(tmp_path / "labels.csv"), "root": str(tmp_path / "photos")}}
    assert Boxes.recognize(tmp_path) == plan


def write(path):
    path.parent.mkdir(exist_ok=True)
    write_image(path, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
