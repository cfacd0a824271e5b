"""Objects of one image: which boxes are usable, and what follows from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visiontasks.data.objects import Objects, usable_boxes
from visiontasks.data.report import Report
from visiontasks.sample import Sample


@given(arrays(np.float64, (5, 4), elements=st.floats(-1e4, 1e4) | st.floats()), st.integers(1, 50), st.integers(1, 50))
def test_what_is_kept_fits_a_sample_and_the_rest_is_reported(boxes, height, width):
    report = Report()
    names = [str(number) for number in range(5)]
    usable, kept = usable_boxes(boxes, (height, width), names, report)
    Sample(np.zeros((height, width, 3), np.uint8), boxes=usable)  # refuses what is not in the one form
    skipped = [name for _, names, skipped in report.items() if skipped for name in names]
    assert sorted([*map(int, skipped), *kept.tolist()]) == list(range(5))


def test_boxes_of_the_one_form_pass_unchanged():
    boxes, report = np.float32([[0, 0, 30, 20], [1.5, 2, 3, 4]]), Report()
    usable, kept = usable_boxes(boxes, (20, 30), ["a", "b"], report)
    np.testing.assert_array_equal(usable, boxes)
    assert kept.tolist() == [0, 1] and not report
    assert usable_boxes([], (20, 30), [], report)[0].shape == (0, 4)


def objects(**changes):
    boxes = np.float32([[0, 0, 4, 4], [0, 0, 8, 8], [0, 0, 9, 9]])
    settings = dict(boxes=boxes, classes=np.int32([2, 0, 1]), ignored=np.array([False, False, True]))
    return Objects(**{**settings, **changes})


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, 0),
        ({"areas": np.float32([90, 5, 99])}, 2),
        ({"ignored": np.ones(3, bool)}, -1),
    ],
)
def test_the_label_is_the_largest_that_is_not_ignored(changes, label):
    assert objects(**changes).fields(4, (10, 10))["label"] == label


def test_fields_are_copies_and_tags_count_ignored_objects():
    made = objects()
    fields = made.fields(4, (10, 10))
    assert fields["tags"].tolist() == [1, 1, 1, 0]
    fields["boxes"][:] = -1
    assert made.fields(4, (10, 10))["boxes"].max() == 9
