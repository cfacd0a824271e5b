"""Sample: one form inside, wrong values refused at the door."""

import numpy as np
import pytest

from visiontasks.sample import FIELDS, Sample, by_set, named, prefix

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
        (
            {"boxes": np.array([[0, 0, 9.0, 6]])},
            "boxes of it: .* 8 wide and 6 high, got .*9.0.*np.clip",
        ),
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
        ({**ONE, "classes": np.array([-1])}, "classes.*from 0; leave out what is no object; got -1"),
        ({**ONE, "classes": np.array([2]), "known": np.array([True] * 2)}, "classes.*below 2.*got 2"),
        ({**ONE, "areas": np.array([1.0, 2.0])}, "areas.*1 entries"),
        ({**ONE, "areas": np.array([-1.0])}, "areas.*not negative"),
        ({**ONE, "areas": np.array([["x"]])}, "areas.*float32"),
    ],
)
def test_wrong_values_are_refused_by_name(fields, text):
    with pytest.raises(ValueError, match=text):
        Sample(**{"image": IMAGE, "id": "it", **fields})


# label sets


def test_named_sets_are_samples_of_the_same_image():
    sample = Sample(IMAGE, label=1, id="it", sets={"a": {"label": 2, **ONE}, "b": Sample(IMAGE, mask=IMAGE[..., 0])})
    assert (sample.label, sample.of("a").label, sample.of("b").label) == (1, 2, None)
    assert sample.of("").sets == {} and sample.of("").label == 1 and sample.boxes is None
    assert all(value is None for value in sample.of("c").labels.values())  # a set that it lacks
    assert {one.id for one in (sample.of("a"), sample.of("b"), sample.of("c"))} == {"it"}
    brighter = sample.replace(image=IMAGE + np.uint8(9))
    assert brighter.of("a").image.min() == 9 and brighter.of("a").boxes.tolist() == [[0, 0, 1, 1]]
    none = sample.each(lambda one: one.replace(label=None))
    assert none.label is none.of("a").label is None and none.of("a").boxes is not None


@pytest.mark.parametrize(
    ("sets", "text"),
    [
        ({"a": {"mask": np.zeros((6, 7), int)}}, r"^a/mask of it: expected \(6, 8\)"),
        ({"a": Sample(np.zeros((9, 9, 3), np.uint8), boxes=[[0.0, 0, 9, 9]])}, "^a/boxes of it: .* 8 wide and 6 high"),
        ({"": {"label": 1}}, "sets of it: expected names .* no /, got ''"),
        ({"a/b": {"label": 1}}, "sets of it: expected names .* no /, got 'a/b'"),
    ],
)
def test_wrong_labels_of_a_set_are_refused_by_its_name(sets, text):
    with pytest.raises(ValueError, match=text):
        Sample(IMAGE, id="it", sets=sets)


def test_names_in_a_batch():
    fields = {"boxes": "a/boxes", "classes": "a/classes"}
    assert by_set(["boxes", "a/boxes", "a/classes"]) == {"": {"boxes": "boxes"}, "a": fields}
    assert named("a", ["boxes"]) == ["a/boxes"] and named("", ["boxes"]) == ["boxes"]
    assert prefix(("boxes", "classes"), None, ["boxes", "a/boxes", "a/classes"]) == "a/"
    assert prefix(("boxes",), None, ["boxes", "a/boxes"]) == ""
