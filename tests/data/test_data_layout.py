"""Lists of class names."""

import pytest

from visiontasks.data.layout import read_names, split_folders
from visiontasks.errors import DataError


def test_names_are_the_lines_without_a_byte_order_mark(tmp_path):
    (tmp_path / "classes.txt").write_bytes("\ufeffcat\r\n\r\n dog \n".encode())
    assert read_names(tmp_path / "classes.txt") == ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "val", "test"), {"train": "train", "val": "val"}),
        (("Train/Train", "Test/Test"), {"train": "Train/Train", "val": "Test/Test"}),
        (("train_zip/train", "test_zip/test"), {"train": "train_zip/train", "val": "test_zip/test"}),
        (("train2017", "val2017", "test2017"), {"train": "train2017", "val": "val2017"}),
        (("train/train", "train/extra", "val"), {"train": "train", "val": "val"}),
        (("train/cat", "val/cat"), {"train": "train", "val": "val"}),
        (("train_images", "train_masks", "test_images"), {"train": ""}),
        (("train_images", "images"), {"train": ""}),
        (("trainers", "testimony"), {"train": ""}),
    ],
)
def test_folders_of_splits(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    assert split_folders(tmp_path) == {split: tmp_path / name for split, name in expected.items()}


@pytest.mark.parametrize(("text", "got"), [("cat\ndog\ncat\n", "'cat' twice"), ("\n", "none")])
def test_names_that_are_no_classes_are_an_error_that_names_the_file(text, got, tmp_path):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=rf"classes\.txt: expected one unique class name per line, got {got}"):
        read_names(tmp_path / "classes.txt")
