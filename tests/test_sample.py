"""Sample: one form inside, wrong values refused at the door."""

import numpy as np
import pytest

from visiontasks.sample import FIELDS, Sample

IMAGE = np.zeros((6, 8, 3), np.uint8)
ONE = {"boxes": np.array([[0, 0, 1.0, 1]])}


def test_types_are_brought_to_the_one_form():
    sample = Sample(
        IMAGE,
        label=np.int64(3),
        tags=np.array([0.0, 1.0]),
        boxes=np.array([[0, 0, 8.0, 6.0]]),
        classes=np.array([2]),
        mask=np.zeros((6, 8), np.uint8),
    )
    assert (type(sample.label), sample.label) == (int, 3)
    assert [sample.tags.dtype, sample.boxes.dtype, sample.classes.dtype, sample.mask.dtype] == [
        np.float32,
        np.float32,
        np.int32,
        np.int32,
    ]
    assert sample.original_size == (6, 8)
    assert sample.replace(label=None).label is None and sample.label == 3


def test_known_ignored_and_what_scoring_needs_of_an_object():
    sample = Sample(IMAGE, **ONE, ignored=[True], known=[True, False], areas=[3])
    assert sample.ignored.dtype == sample.known.dtype == bool and sample.areas.dtype == np.float32
    assert {"ignored", "known"} < set(FIELDS) and "areas" not in FIELDS  # no batch has the last


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"image": IMAGE[..., 0]}, "image.*uint8"),
        ({"image": IMAGE.astype("float32")}, "image.*float32"),
        ({"image": IMAGE[:0]}, "image.*one pixel"),
        ({"mask": np.zeros((6, 7), int)}, r"mask.*\(6, 8\)"),
        ({"mask": np.zeros((6, 8), "float32")}, "mask.*int32"),
        ({"label": 1.5}, "label.*int32"),
        ({"boxes": np.array([[0, 0, 9.0, 6]])}, "x2 <= 8"),
        ({"boxes": np.array([[4, 0, 4.0, 6]])}, "x1 < x2"),
        ({"boxes": np.array([[0, np.nan, 4.0, 6]])}, "boxes"),
        ({"boxes": np.zeros((1, 5), "float32")}, r"boxes.*\(N, 4\)"),
        ({"boxes": np.array([[0, 0, 1.0, 1]]), "classes": np.array([1, 2])}, "classes.*1 entries"),
        ({"mask": np.full((6, 8), -5)}, "mask.*from 0.*got -5"),
        ({"tags": np.array([0.0, 7.0])}, "tags.*got 7"),
        ({"tags": np.array([np.nan])}, "tags.*got nan"),
        ({"classes": np.array([1])}, "classes.*boxes too"),
        ({**ONE, "instance_masks": np.zeros((1, 3, 3), np.uint8)}, r"instance_masks.*\(N, 6, 8\)"),
        ({**ONE, "instance_masks": np.full((1, 6, 8), 2, np.uint8)}, "instance_masks.*0 or 1"),
        ({**ONE, "keypoints": np.zeros((1, 2, 7), "float32")}, "keypoints.*x, y, visibility"),
        ({**ONE, "keypoints": np.full((1, 2, 3), 3, "float32")}, "keypoints.*x, y, visibility"),
        ({"ignored": np.array([True])}, "ignored.*boxes too"),
        ({"known": np.array([True])}, "known.*boxes too"),
        ({**ONE, "ignored": np.array([True, False])}, "ignored.*1 entries"),
        ({**ONE, "ignored": np.array([1])}, "ignored.*bool"),
        ({**ONE, "known": np.array([1.0])}, "known.*bool"),
        ({**ONE, "classes": np.array([-1])}, "classes.*from 0; leave out what is no object, got -1"),
        ({**ONE, "classes": np.array([2]), "known": np.array([True] * 2)}, "classes.*from 0 to 1.*got 2"),
        ({**ONE, "areas": np.array([1.0, 2.0])}, "areas.*1 entries"),
        ({**ONE, "areas": np.array([-1.0])}, "areas.*not negative"),
        ({**ONE, "areas": np.array([["x"]])}, "areas.*float32"),
    ],
)
def test_wrong_values_are_refused_by_name(fields, text):
    with pytest.raises(ValueError, match=text):
        Sample(**{"image": IMAGE, "id": "it", **fields})
