"""The files that annotations name, whatever became of the names."""

import os
import unicodedata

import pytest

from visiontasks.data.finding import Finder
from visiontasks.data.images import list_images
from visiontasks.data.report import Report
from visiontasks.errors import DataError


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "set"
    for name in ("train/a.jpg", "train/B c.JPG", "val/a.jpg", "val/deep/d.png", unicodedata.normalize("NFD", "é.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(root, name):
    """(the file below the root or None, what the report says)."""
    finder = Finder(root, Report())
    path = finder.find(name, "x.json, image 1")
    says = finder.report.items()
    assert all(skipped == (path is None) for _, _, skipped in says)
    return None if path is None else str(path.relative_to(root)), says[0][0] if says else ""


@pytest.mark.parametrize(
    ("name", "expected", "said"),
    [
        ("train/a.jpg", "train/a.jpg", ""),
        ("./val/../train/a.jpg", "val/../train/a.jpg", ""),
        ("train\\a.jpg", "train/a.jpg", "file name with backslashes"),
        ("train/B%20c.JPG", "train/B c.JPG", "percent-encoded file name"),
        ("train/b C.jpg", "train/B c.JPG", "file name in another letter case or Unicode form"),
        ("train\\b%20c.jpg", "train/B c.JPG", "file name in another letter case or Unicode form"),
        ("é.png", unicodedata.normalize("NFD", "é.png"), "file name in another letter case or Unicode form"),
        ("train/a", "train/a.jpg", ""),  # a table may leave the suffix out
        ("/content/drive/set/train/a.jpg", "train/a.jpg", "file name with other folders, found by its end"),
        ("C:\\Users\\me\\val\\a.jpg", "val/a.jpg", "file name with other folders, found by its end"),
        (
            "https://x.com/val/a.jpg?X-Date=1&X-Sign=a/b",
            "val/a.jpg",
            "file name with other folders, found by its end",
        ),
        ("data/val/a.jpg", "val/a.jpg", "file name with other folders, found by its end"),
        ("d.png", "val/deep/d.png", "file name with other folders, found by its end"),
        ("val/d.png", "val/deep/d.png", "file name with other folders, found by its end"),
        ("../train/a.jpg", "train/a.jpg", "file name with other folders, found by its end"),
        ("train/d.png", None, "image missing, skipped"),  # its folder is there, and it is not
        ("other/a.jpg", None, "file name that fits several files, skipped"),
        ("gone.jpg", None, "image missing, skipped"),
        ("a\0.jpg", None, "image missing, skipped"),
        ("x" * 300 + ".jpg", None, "image missing, skipped"),
        ("", None, "image missing, skipped"),
    ],
)
def test_names(root, name, expected, said):
    file, report = found(root, name)
    assert (file, report) == (expected, said)


@pytest.mark.parametrize("name", ["../secret.jpg", "train/../../secret.jpg", "/etc/passwd.jpg", "..\\secret.jpg"])
def test_item_77_names_that_lead_out(root, name):
    (root.parent / "secret.jpg").touch()
    with pytest.raises(DataError, match="^root: x.json, image 1: .*secret.jpg|passwd.*: expected a file in .*outside"):
        found(root, name)


def test_an_absolute_name_in_the_folder_and_a_link_that_the_user_made(root, tmp_path):
    assert found(root, str(root / "train/a.jpg")) == ("train/a.jpg", "")
    (tmp_path / "far").mkdir()
    (tmp_path / "far/x.jpg").touch()
    os.symlink(tmp_path / "far", root / "link")
    assert found(root, "link/x.jpg") == ("link/x.jpg", "")
    os.symlink(root, tmp_path / "alias")
    assert found(tmp_path / "alias", str(root / "train/a.jpg"))[0] == "train/a.jpg"


def test_items_85_and_86_each_real_folder_once_and_no_pipes(root):
    os.symlink(root, root / "train/loop")
    os.symlink(root / "train/self.jpg", root / "train/self.jpg")
    os.mkfifo(root / "train/pipe.jpg")
    names = [path.name for path in list_images(root / "train")]
    assert names.count("B c.JPG") == 1 and "pipe.jpg" not in names
    report = Report()
    list_images(root / "train", report=report)
    assert report.count("pipe, device or socket with an image's name, skipped") == 1
    assert "self.jpg" in names  # it leads nowhere: a missing image, which is counted when it is read


def test_no_image_at_all_names_three(root):
    error = Finder(root).none_found("x.csv", ["1.jpg", "2.jpg", "3.jpg", "4.jpg"])
    assert f"none of the 4 that it names in {root} or below (1.jpg, 2.jpg, 3.jpg, …)" in str(error)


def test_label_studios_prefix_is_dropped_where_one_file_fits(tmp_path):
    for name in ("images/a.jpg", "images/b.jpg", "other/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    report = Report()
    finder = Finder(tmp_path, report)
    assert finder.find("images\\1f2e3d4c-a.jpg") == tmp_path / "images/a.jpg"
    assert report.count("file name with a prefix of Label Studio") == 1
    assert finder.find("1f2e3d4c-b.jpg") is None and finder.find("1f2e3d4-a.jpg") is None


def test_a_name_too_long_for_a_file_is_missing(root):
    assert found(root, f"{'x' * 300}/a.txt/b.jpg") == (None, "image missing, skipped")
    assert not Finder(root).at_once(f"{'x' * 300}/b")
