"""scripts/parity/comparing.py: what counts as the same annotation after a round trip."""

import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "parity"))
import comparing


def runs(*windows, size=(20, 20)):
    """The run lengths of rectangles (x1, y1, x2, y2)."""
    mask = np.zeros(size, np.uint8)
    for x1, y1, x2, y2 in windows:
        mask[y1:y2, x1:x2] = 1
    return coco_mask.encode(np.asfortranarray(mask))


def image(*windows, ignored=(), classes=None):
    boxes = np.array(windows, float).reshape(-1, 4)
    ignored = np.isin(np.arange(len(windows)), ignored)
    classes = classes or ["cat"] * len(windows)
    return comparing.Image("a.png", (20, 20), "train", boxes, classes, ignored, [runs(window) for window in windows])


@pytest.mark.parametrize(("other", "pixels"), [((4, 4, 12, 12), 0), ((4, 4, 11, 11), 1), ((2, 4, 12, 12), 2)])
def test_the_rounding_of_a_mask_is_the_pixels_that_its_edge_moved(other, pixels):
    assert comparing.distance(runs((4, 4, 12, 12)), runs(other)) == pixels


def test_the_rounding_counts_at_the_edge_of_the_image_too():
    assert comparing.distance(runs((10, 10, 20, 20)), runs((10, 10, 19, 19))) == 1


def test_masks_that_lie_apart_are_beyond_the_most_that_is_looked_at():
    assert comparing.distance(runs((0, 0, 4, 4)), runs((14, 14, 18, 18))) == comparing.MOST + 1


def test_masks_without_a_pixel_are_equal():
    assert comparing.distance(runs(), runs()) == 0 and comparing.overlap(runs(), runs()) == 1


def test_a_part_that_no_polygon_can_draw_is_left_out():
    mask = runs((2, 2, 8, 8), (12, 3, 13, 9))
    (whole,) = comparing.drawn(mask, separate=False)
    assert comparing.outline(whole).tolist() == [2, 2, 8, 8]
    assert comparing.drawn(runs((12, 3, 13, 9)), separate=False) == []


def test_an_export_that_knows_no_crowds_has_objects_or_nothing_instead():
    before = image((0, 0, 5, 5), (8, 8, 16, 16), ignored=(1,))
    assert comparing.expected(before, comparing.Export("boxes", crowds="objects")).ignored == [False, False]
    assert len(comparing.expected(before, comparing.Export("boxes", crowds="none")).boxes) == 1


def test_objects_are_paired_within_their_class_and_losses_are_faults():
    before = image((0, 0, 5, 5), (8, 8, 16, 16), classes=["cat", "dog"])
    row = comparing.Row(comparing.Export("masks"))
    row.add(before, before)
    assert row.faults() == [] and row.cells() == ["2/2", "0.000", "1.000, mean 1.000", "0"]
    row.add(before, image((0, 0, 5, 5), (8, 8, 16, 16), classes=["cat", "cat"]))
    assert row.faults() == ["1 objects lost", "1 objects more"]


def test_a_box_beyond_the_rounding_of_the_format_is_a_fault():
    row = comparing.Row(comparing.Export("boxes", box=1))
    row.add(image((0, 0, 5, 5)), image((0, 0, 7, 5)))
    assert row.faults() == ["boxes"]


def test_void_is_not_compared():
    pixels = np.array([[0, 1, 255]])
    before = comparing.Image("a.png", (1, 3), "train", pixels=pixels)
    row = comparing.Row(comparing.Export("pixels"))
    row.add(before, comparing.Image("a.png", (1, 3), "train", pixels=np.array([[0, 1, 0]])))
    assert row.faults() == []
    row.add(before, comparing.Image("a.png", (1, 3), "train", pixels=np.array([[1, 1, 0]])))
    assert row.faults() == ["pixels 0.5000"]
