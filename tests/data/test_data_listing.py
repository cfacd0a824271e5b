"""Files by patterns: no pipes, no loops, no results."""

import os
import signal

import cv2
import numpy as np
import pytest

from visiontasks.data.detect import detect
from visiontasks.data.layout import RESULTS
from visiontasks.data.listing import files_at, files_like
from visiontasks.data.load import load_source


@pytest.fixture(autouse=True)
def _no_hang():
    """A pipe that is opened, or a loop that is followed, is an error after 20 seconds."""

    def late(*_):
        pytest.fail("waits for a pipe, or follows a loop")  # no OSError, which readers catch

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def root(tmp_path):
    for name in ("a.png", "x/b.png", "x/y/c.png", "x/y/d.txt", "results/e.png", f"results/{RESULTS}", ".h/f.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.png", "a"),
        ("**/*.png", "abc"),
        ("x/**/*.png", "bc"),
        ("**/y/*.png", "c"),
        ("**/y/**", "cd"),
        ("*/**/[cd].*", "cd"),
        ("results/*.png", ""),
    ],
)
def test_item_86_globs_follow_links_each_real_folder_once(root, pattern, names):
    os.symlink(root / "x", root / "x/y/up")
    os.symlink(".", root / "x/y/self")
    os.symlink("none.png", root / "x/dead.png")
    assert [path.stem for path in files_at(f"{root}/{pattern}")] == list(names)


def test_a_relative_glob_gives_relative_paths(root, monkeypatch):
    monkeypatch.chdir(root)
    assert [str(path) for path in files_at("**/b.*")] == ["x/b.png"]


def test_item_85_no_pipes_and_links_that_lead_nowhere(root):
    os.mkfifo(root / "pipe.json")
    os.symlink("none", root / "dead.json")
    (root / "folder.json").mkdir()
    (root / "b.csv").touch()
    assert [path.name for path in files_like(root, "*.json", "*.csv")] == ["b.csv", "dead.json"]


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((20, 30, 3), 99, np.uint8))


@pytest.mark.parametrize(
    "name",
    ["data.yaml", "a.yml", "a.json", "_annotations.coco.json", "train/cat/0.json", "a.xml", "train/cat/0.xml", "a.csv"]
    + ["a.tsv", "classes.txt", "obj.names", "obj.data", "train.txt", "train/cat/0.txt", "labels/classes.txt"],
)
def test_item_85_a_pipe_named_as_annotations_is_not_opened(tmp_path, name):
    for place in ("cat/0", "cat/1", "dog/0"):
        image(tmp_path / "train" / f"{place}.png")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    splits, _ = detect(tmp_path)
    assert splits["train"]["source"] == "folder"


def test_item_85_a_pipe_named_as_a_label_file_is_none(tmp_path):
    for stem in "ab":
        image(tmp_path / "images/train" / f"{stem}.png")
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    os.mkfifo(tmp_path / "labels/train/b.txt")
    (tmp_path / "data.yaml").write_text("names: [cat]\ntrain: images/train\n")
    source = load_source(detect(tmp_path)[0]["train"], "train")
    assert [len(source[n].boxes) for n in range(len(source))] == [1, 0]
    assert source.report.count("image without a label file, used as an image without objects") == 1
