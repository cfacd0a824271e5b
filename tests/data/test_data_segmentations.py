"""Segmentations: what passes the check is what pycocotools draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from visiontasks.data import segmentations
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
        result = segmentations.check({"size": list(size), "counts": counts}, size, "it")
        np.testing.assert_array_equal(InstanceMasks([result], size), [mask])
        assert segmentations.area(result, size) == mask.sum()
        if mask.any():
            rows, columns = np.nonzero(mask)
            expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert segmentations.extent(result) == expected


@given(st.text(max_size=12))
def test_text_that_is_no_run_lengths_of_this_image_never_reaches_pycocotools(text):
    try:
        result = segmentations.check({"size": [4, 5], "counts": text}, (4, 5), "it")
    except DataError:
        return
    assert set(np.unique(np.asarray(InstanceMasks([result], (4, 5))))) <= {0, 1}


def test_polygons():
    square = [1, 1, 4, 1, 4, 3, 1, 3]
    result = segmentations.check([square], (8, 8), "it")
    assert segmentations.area(result, (8, 8)) == 6 and segmentations.extent(result) == [1, 1, 4, 3]
    assert [list(p) for p in segmentations.check([square, [float("nan")] * 6, []], (8, 8), "it")] == [square]
    assert segmentations.check([], (8, 8), "it") is segmentations.check(None, (8, 8), "it") is None


@pytest.mark.parametrize("counts", ["\x00", "é", "o", 7, None, [1.0, 19.0]])
def test_counts_that_are_none(counts):
    with pytest.raises(DataError, match="it: expected run lengths that are integers and add up to 4 × 5"):
        segmentations.check({"size": [4, 5], "counts": counts}, (4, 5), "it")
