"""Segmentations: what passes the check is what pycocotools draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from visiontasks.data import segmentations
from visiontasks.data.report import Report
from visiontasks.errors import DataError
from visiontasks.instance_masks import InstanceMasks
from visiontasks.run_lengths import lengths_of


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1)))
def test_run_lengths_as_text_and_as_numbers_give_the_mask_they_were_made_of(mask):
    size = mask.shape
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    runs = lengths_of(text).tolist()
    assert sum(runs) == mask.size
    for counts in (text, runs):
        result = segmentations.check({"size": list(size), "counts": counts}, size, "it", Report())
        if not mask.any():
            assert result is None
            continue
        np.testing.assert_array_equal(InstanceMasks([result], size), [mask])
        assert segmentations.area(result, size) == mask.sum()
        rows, columns = np.nonzero(mask)
        assert segmentations.extent(result) == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@given(st.text(max_size=12))
def test_text_that_is_no_run_lengths_of_this_image_never_reaches_pycocotools(text):
    try:
        result = segmentations.check({"size": [4, 5], "counts": text}, (4, 5), "it", Report())
    except DataError:
        return
    assert set(np.unique(np.asarray(InstanceMasks([result], (4, 5))))) <= {0, 1}


def test_polygons():
    square, report = [1, 1, 4, 1, 4, 3, 1, 3], Report()
    result = segmentations.check([square], (8, 8), "it", report)
    assert segmentations.area(result, (8, 8)) == 6 and segmentations.extent(result) == [1, 1, 4, 3]
    assert segmentations.check([], (8, 8), "it", report) is segmentations.check(None, (8, 8), "it", report) is None
    assert not report


def test_each_part_of_an_object_that_is_left_out_is_reported():
    square, nan, report = [1, 1, 4, 1, 4, 3, 1, 3], [float("nan")] * 6, Report()
    assert [list(p) for p in segmentations.check([square, nan, [], [1, 1, 5, 5]], (8, 8), "it", report)] == [square]
    assert report.whole().splitlines() == [
        "1 × polygon of NaN or infinity, left out of its object:",
        "  it, polygon 2",
        "2 × polygon of fewer than 3 points, left out of its object:",
        "  it, polygon 3",
        "  it, polygon 4",
    ]
    report = Report()
    assert segmentations.check([nan], (8, 8), "it", report) == []
    assert str(report) == "1 × polygon of NaN or infinity, object skipped: it"


def test_a_polygon_that_reaches_far_out_is_cut_and_others_are_not():
    report, size = Report(), (8, 8)
    ordinary = [-60.5, 1, 70, 1, 70, 79]
    assert [list(p) for p in segmentations.check([ordinary], size, "it", report)] == [ordinary] and not report
    result = segmentations.check([[0, 0, 1e308, 0, 1e308, 1e308], [1e9, 1e9, 2e9, 1e9, 2e9, 2e9]], size, "it", report)
    assert segmentations.extent(result) == [0, 0, 8, 8]
    assert report.count("polygon that reaches far out of its image, cut to it") == 2
    assert segmentations.area(result, size) == segmentations.area([[0, 0, 16, 0, 16, 16]], size)
    (crop,) = InstanceMasks([tuple(map(segmentations.points_of, result))], size).crops(np.array([[0, 0, 8, 8]]), 8)
    np.testing.assert_array_equal(np.triu(np.ones((8, 8)), 1), np.triu(crop, 1))


@pytest.mark.parametrize("counts", ["\x00", "é", "o", 7, None, [1.0, 19.0]])
def test_counts_that_are_none(counts):
    with pytest.raises(DataError, match="it: expected run lengths that are integers and add up to 4 × 5"):
        segmentations.check({"size": [4, 5], "counts": counts}, (4, 5), "it", Report())
