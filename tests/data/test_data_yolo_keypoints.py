"""YOLO's text files of keypoints: kpt_shape, flip_idx and the rows."""

import numpy as np
import pytest

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.load import load_data
from visiontasks.data.sources.yolo import Yolo
from visiontasks.errors import DataError

HEIGHT, WIDTH = 20, 40
YAML = "train: images/train\nnames: [cat, dog]\nkpt_shape: [3, 3]\n"
FLIP = "flip_idx: [0, 2, 1]\n"
NAMES = "kpt_names: {0: [nose, left_eye, right_eye], 1: [nose, left_eye, right_eye]}\n"
BOX = "0 0.5 0.5 0.2 0.4"
ROW = f"{BOX} 0.5 0.5 2 0.25 0.1 1 0 0 0"


def write(root, labels, text):
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, rows in zip("abcdef", labels, strict=False):
        write_image(root / f"images/train/{name}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        (root / f"labels/train/{name}.txt").write_text(rows)
    (root / "data.yaml").write_text(text)
    return str(root / "data.yaml")


def yolo(root, *labels, text=YAML, **arguments):
    return Yolo(write(root, labels, text), **arguments)


def seen(source):
    return {what: len(names) for what, names, _ in source.report.items() if "sigma" not in what}


def test_a_sample_has_keypoints_in_pixels(tmp_path):
    source = yolo(tmp_path, f"{ROW}\n1 0.5 0.5 1 1 1 1 2 0.1 0.2 0 0 0 2\n", "", text=YAML + FLIP + NAMES)
    assert source.fields == {"boxes", "classes", "tags", "label", "keypoints"}
    skeleton = source.names["keypoints"]
    assert skeleton == ("nose", "left_eye", "right_eye") and skeleton.partners == (0, 2, 1)
    sample = source[0]
    np.testing.assert_allclose(sample.boxes, [[16, 6, 24, 14], [0, 0, WIDTH, HEIGHT]], atol=1e-5)
    expected = [[[20, 10, 2], [10, 2, 1], [0, 0, 0]], [[WIDTH, HEIGHT, 2], [0, 0, 0], [0, 0, 2]]]
    np.testing.assert_allclose(sample.keypoints, expected, atol=1e-5)
    assert sample.keypoints.dtype == np.float32 and sample.areas is None and sample.instance_masks is None
    assert source[1].keypoints.shape == (0, 3, 3) and not source.report
    assert source.posed(0).tolist() == [0, 1] and source.posed(1).tolist() == []


def test_of_two_numbers_the_corner_is_not_labeled(tmp_path):
    text = YAML.replace("[3, 3]", "[3, 2]")
    source = yolo(tmp_path, f"{BOX} 0.5 0.5 0 0 0 0.1\n", text=text)
    np.testing.assert_allclose(source[0].keypoints, [[[20, 10, 2], [0, 0, 0], [0, 2, 2]]], atol=1e-5)
    assert source.names["keypoints"] == ("0", "1", "2") and source.names["keypoints"].partners is None


def test_keypoints_outside_of_the_image_are_not_labeled(tmp_path):
    source = yolo(tmp_path, f"{BOX} 1.2 0.5 2 1.0006 0.5 1 nan 0.5 2\n{BOX} 1.2 -3 0 0.5 0.5 2 0 0 0")
    np.testing.assert_allclose(source[0].keypoints[0], [[0, 0, 0], [WIDTH, 10, 1], [0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(source[0].keypoints[1], [[0, 0, 0], [20, 10, 2], [0, 0, 0]], atol=1e-5)
    assert seen(source) == {
        "keypoint outside of its image, not labeled": 1,
        "keypoint of NaN or infinity, not labeled": 1,
    }
    assert "a.txt, line 1" in str(source.report)


def test_an_object_whose_box_is_outside_is_skipped_with_its_keypoints(tmp_path):
    source = yolo(tmp_path, f"0 1.5 0.5 0.1 0.1 0.5 0.5 2 0 0 0 0 0 0\n0 0.5 0.5 0 0 0.1 0.1 2 0 0 0 0 0 0\n{ROW}")
    assert source[0].keypoints.shape == (1, 3, 3) and source[0].keypoints[0, 0].tolist() == [20, 10, 2]
    assert seen(source) == {
        "object with numbers outside [0, 1], skipped": 1,
        "box without extent, skipped": 1,
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (f"{ROW}\n{BOX}", "line 2: expected 14 columns, .* 3 keypoints of 3 numbers, as kpt_shape .* got 5 columns"),
        (ROW + " 0", "line 1: expected 14 columns, .* got 15 columns"),
        (f"{BOX} 0.5 0.5 0.25 0.1 0 0", "line 1: expected 14 columns, .* got 11 columns"),
        ("0 0.1 0.1 0.9 0.1 0.9 0.9", "line 1: expected 14 columns, .* got 7 columns"),
        (ROW[:-1] + "3", "line 1: expected keypoint visibilities 0, 1 or 2, got 3"),
        (ROW[:-1] + "0.5", "line 1: expected keypoint visibilities 0, 1 or 2, got 0.5"),
        (ROW[:-1] + "nan", "line 1: expected keypoint visibilities 0, 1 or 2, got nan"),
        ("2" + ROW[1:], "line 1: expected a class index from 0 to 1"),
        (ROW[:-1] + "x", "line 1: expected numbers"),
    ],
    ids=["box", "one more", "two numbers", "polygon", "three", "half", "nan", "44", "text"],
)
def test_item_47_rows_that_are_errors(tmp_path, rows, message):
    with pytest.raises(DataError, match=f"a.txt, {message}"):
        yolo(tmp_path, rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (YAML.replace("[3, 3]", "[3, 4]"), r"kpt_shape: \[number of keypoints, 2 or 3 .*got \[3, 4\]"),
        (YAML.replace("[3, 3]", "[0, 3]"), r"kpt_shape: .*got \[0, 3\]"),
        (YAML.replace("[3, 3]", "3"), "kpt_shape: .*got 3"),
        (YAML.replace("[3, 3]", "[a, 3]"), r"kpt_shape: .*got \['a', 3\]"),
        (YAML + "flip_idx: [0, 1]\n", r"expected flip_idx with each index from 0 to 2 once, got \[0, 1\]"),
        (YAML + "flip_idx: [0, 1, 1]\n", "expected flip_idx with each index"),
        (YAML + "flip_idx: [1, 2, 0]\n", "expected flip_idx .* got 1 at index 0, but 2 at index 1; write 0 there"),
        (YAML + "flip_idx: left\n", "expected flip_idx, a list of 3 indices, got left"),
        (YAML + "kpt_names: {0: [a, b]}\n", "expected 3 kpt_names, as kpt_shape says, got 2"),
        (YAML + "kpt_names: {0: [a, b, c], 1: [a, b, d]}\n", "one list for all classes, got 2 different lists"),
        (YAML + "kpt_names: {0: nose}\n", r"kpt_names: \{class: \[names\]\}, got"),
        (YAML + "kpt_names: {0: [a, b, b]}\n", "names: expected one name or more, none of them twice"),
        (YAML + "kpt_oks_sigmas: [0.1, 0.2]\n", "sigmas: expected 3 numbers, one per keypoint, got 2"),
        (YAML + "kpt_oks_sigmas: [0.1, 0.2, 0]\n", "sigmas: expected numbers above 0, got 0"),
    ],
)
def test_data_yaml_that_is_wrong(tmp_path, text, message):
    with pytest.raises(DataError, match=rf"data\.yaml: .*{message}"):
        yolo(tmp_path, ROW, text=text)


def test_the_skeleton_of_the_recipe_comes_first(tmp_path):
    given = {"keypoints": ["a", "b", "c"], "limbs": [["a", "b"]], "pairs": [["a", "b"]], "sigmas": {"c": 0.5}}
    skeleton = yolo(tmp_path, ROW, text=YAML + FLIP + NAMES, skeleton=given).names["keypoints"]
    assert skeleton == ("a", "b", "c") and skeleton.limbs == ((0, 1),) and skeleton.partners == (1, 0, 2)
    assert skeleton.sigmas[2] == 0.5
    with pytest.raises(DataError, match=r"skeleton\.keypoints: expected 3 keypoints"):
        yolo(tmp_path, ROW, skeleton={"keypoints": ["a"]})
    stated = yolo(tmp_path, ROW, text=YAML + "kpt_oks_sigmas: [0.1, 0.2, 0.3]\nkpt_names: [a, b, c]\n")
    assert stated.names["keypoints"].sigmas == (0.1, 0.2, 0.3) and not stated.report
    plain = yolo(tmp_path, ROW)
    assert "no OKS sigma known for all keypoints" in str(plain.report)


def test_a_mirrored_image_has_left_and_right_swapped(tmp_path):
    write(tmp_path, [ROW, ROW, ROW, ROW], YAML + FLIP)
    splits, _ = detect(tmp_path, ["boxes", "keypoints"])
    assert splits["train"]["source"] == "yolo"
    flip = [{"HorizontalFlip": {"p": 1.0}}]
    fields, size = ("boxes", "classes", "keypoints"), (HEIGHT, WIDTH)
    train, _ = load_data(str(tmp_path), batch=1, fields=fields, size=size, workers=0, augment=flip)
    batch = next(iter(train))
    np.testing.assert_allclose(batch["keypoints"][0, 0], [[20, 10, 2], [0, 0, 0], [30, 2, 1]], atol=1e-4)
