"""MVTec AD's layout: which images are normal, where their masks lie, and what it is mistaken for."""

import shutil

import numpy as np
import pytest

from visiontasks.check import check
from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.sources.mvtec import Mvtec
from visiontasks.errors import BadImage, DataError
from visiontasks.sample import VOID


def write(path, values=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((12, 16, 3), 90, np.uint8) if values is None else values)


@pytest.fixture
def root(tmp_path):
    for number in range(3):
        write(tmp_path / f"train/good/{number:03}.png")
    write(tmp_path / "test/good/000.png")
    write(tmp_path / "test/crack/000.png")
    write(tmp_path / "test/hole/000.png")
    mask = np.zeros((12, 16), np.uint8)
    mask[2:4, 5:9] = 255
    write(tmp_path / "ground_truth/crack/000_mask.png", mask)
    return tmp_path


def test_the_training_set_is_normal_and_the_test_set_has_masks(root):
    train, test = Mvtec(str(root)), Mvtec(str(root), split="test")
    assert [train[i].label for i in range(len(train))] == [0, 0, 0] and not train[0].mask.any()
    samples = {sample.id: sample for sample in map(test.__getitem__, range(len(test)))}
    assert {key: sample.label for key, sample in samples.items()} == {
        "test/crack/000.png": 1,
        "test/good/000.png": 0,
        "test/hole/000.png": 1,
    }
    crack = samples["test/crack/000.png"].mask
    assert crack[2:4, 5:9].all() and crack.sum() == 8
    assert not samples["test/good/000.png"].mask.any()
    assert (samples["test/hole/000.png"].mask == VOID).all()  # it has none
    assert "image of a defect without a mask" in str(test.report)


def test_without_ground_truth_there_are_labels_alone(root):
    shutil.rmtree(root / "ground_truth")
    test = Mvtec(str(root), split="test")
    assert test.fields == {"label"} and sorted(sample.label for sample in map(test.__getitem__, range(3))) == [0, 1, 1]
    assert test[0].mask is None and not test.report


def test_the_folder_is_recognized_with_its_test_set(root):
    for wanted in (("label", "mask"), ("label",)):
        splits, message = detect(root, wanted)
        assert splits["train"]["source"] == "mvtec" and splits["val"]["split"] == "test"
        assert "read as mvtec" in message


def test_normal_images_alone_are_no_fault_of_the_training_set(root):
    kinds = {finding.kind for finding in check(str(root)).findings}
    assert not kinds & {"class_missing", "empty_mask"} and "note" not in kinds


def test_class_folders_with_a_test_set_are_something_else(root):
    write(root / "train/bad/000.png")
    assert Mvtec.recognize(root) is None
    assert detect(root, ("label",))[0]["train"]["source"] == "folder"


def test_what_is_missing_or_does_not_fit_is_an_error(root, tmp_path):
    with pytest.raises(DataError, match="to have train/good"):
        Mvtec(str(root / "test"))
    with pytest.raises(DataError, match="to have test"):
        Mvtec(str(root / "train"), split="test")
    write(root / "ground_truth/crack/000_mask.png", np.zeros((8, 8), np.uint8))
    test = Mvtec(str(root), split="test")
    with pytest.raises(BadImage, match=r"the mask's height and width are \(8, 8\), its image's \(12, 16\)"):
        test[0]
