"""Placement: where an image lies on the canvas, and the way back."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiontasks.geometry import MODES, PAD_VALUE, Placement

SIZE = st.integers(1, 60)


@given(SIZE, SIZE, SIZE, SIZE, st.sampled_from(MODES))
def test_every_image_fills_its_canvas(h, w, rows, columns, mode):
    placement = Placement((h, w), (rows, columns), mode)
    image = np.full((h, w, 3), 200, np.uint8)
    placed = placement.place_image(image)
    assert placed.shape == (rows, columns, 3)
    mask = placement.place_mask(np.ones((h, w), np.int32))
    assert mask.shape == (rows, columns) and set(np.unique(mask)) <= {1, 255}
    # where the image lies and where the mask lies are the same pixels
    np.testing.assert_array_equal(placed[..., 0] == 200, mask == 1)
    if mode == "letterbox":
        assert (placed[mask == 255] == PAD_VALUE).all()
        assert (mask == 1).any(0).all() or (mask == 1).any(1).all()  # touches two opposite sides
    else:
        assert (mask == 1).all()


@pytest.mark.parametrize("height, width", [(400, 400), (100, 800), (800, 250), (60, 640), (700, 30)])
def test_a_much_larger_image_is_averaged_not_sampled(height, width):
    """Fine stripes sampled at a few points would give stripes that are not there."""
    stripes = np.zeros((height, width, 3), np.uint8)
    stripes[(np.arange(height)[:, None] + np.arange(width)) % 2 == 0] = 200
    placed = Placement((height, width), (100, 100)).place_image(stripes)
    # seven stripes averaged are a seventh off the mean; sampled, they are 90 or more off
    assert abs(placed.astype(int) - 100).max() <= 100 / 6


@given(st.integers(8, 60), st.integers(8, 60), st.sampled_from(["stretch", "letterbox"]))
def test_a_map_comes_back_to_the_pixels_it_was_made_from(h, w, mode):
    """A ramp over the original, placed and restored, is the same ramp away from the border."""
    placement = Placement((h, w), (96, 96), mode)
    ys, xs = np.mgrid[:h, :w].astype("float32")
    ramp = np.stack([ys / h, xs / w], -1)
    placed = np.zeros((96, 96, 2), "float32")
    (top, left), (rows, columns) = placement.offset, placement.resized
    placed[top : top + rows, left : left + columns] = cv2.resize(ramp, (columns, rows))
    restored = placement.restore_map(placed)
    assert restored.shape == ramp.shape
    np.testing.assert_allclose(restored[2:-2, 2:-2], ramp[2:-2, 2:-2], atol=0.02)


def test_label_maps_are_never_mixed():  # robustness item 53
    mask = np.indices((37, 53)).sum(0) % 2 * 7
    for size in [(64, 64), (16, 24), (37, 53)]:
        for mode in MODES:
            assert set(np.unique(Placement((37, 53), size, mode).place_mask(mask))) <= {0, 7, 255}


def test_crop_has_no_way_back_and_says_what_to_use():
    with pytest.raises(ValueError, match="letterbox"):
        Placement((10, 20), (8, 8), "crop").restore_map(np.zeros((8, 8, 2), "float32"))


@given(
    st.integers(1, 5000), st.integers(1, 5000), st.integers(8, 2000), st.integers(8, 2000), st.integers(0, 2**32 - 1)
)
@pytest.mark.parametrize("mode", MODES)
def test_restored_boxes_are_the_inverse_of_placed_ones(mode, h, w, rows, columns, seed):
    """Placed in float32 as transforms do it; in `crop` too, where boxes may lie outside the canvas."""
    placement = Placement((h, w), (rows, columns), mode)
    corners = np.random.default_rng(seed).random((20, 2, 2)) * (w, h)
    boxes = np.sort(corners, axis=1).reshape(-1, 4).astype("float32")
    (scale_y, scale_x), (top, left) = placement.scale, placement.offset
    scale, offset = np.float32([scale_x, scale_y]), np.float32([left, top])
    placed = (boxes.reshape(-1, 2, 2) * scale + offset).reshape(-1, 4)
    restored = placement.restore_boxes(placed)
    assert restored.dtype == np.float32
    # a coordinate on the canvas is rounded to float32, and a scale below one magnifies that on the way back
    rounding = np.float32([w, h, w, h]) * 2e-7 + np.abs(placed).max(initial=1) * 1.2e-7 / np.tile([scale_x, scale_y], 2)
    assert (np.abs(restored - boxes) <= rounding).all()


@pytest.mark.parametrize("mode", MODES)
def test_restored_boxes_lie_within_the_image(mode):
    placement = Placement((30, 70), (64, 64), mode)
    restored = placement.restore_boxes(np.float32([[-900, -900, 900, 900], [-9, -9, -5, -4], [10, 0, 20, 5]]))
    assert restored[0].tolist() == [0, 0, 70, 30]
    assert mode == "crop" or restored[1].tolist() == [0, 0, 0, 0]
    if mode == "letterbox":
        assert restored[2][1] == restored[2][3] == 0  # on the padding above
    assert placement.restore_boxes(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_a_box_through_the_transform_comes_back():
    """The very arithmetic of the data layer, not a copy of it."""
    from visiontasks.data.placing import place
    from visiontasks.sample import Sample

    boxes = np.float32([[0, 0, 70, 30], [12.5, 3.25, 40, 29]])
    sample = Sample(np.zeros((30, 70, 3), np.uint8), boxes=boxes)
    for mode in ("stretch", "letterbox"):
        placement = Placement((30, 70), (160, 96), mode)
        np.testing.assert_allclose(placement.restore_boxes(place(sample, placement).boxes), boxes, atol=1e-5)


def test_an_unknown_mode_lists_the_choices():
    with pytest.raises(ValueError, match="stretch, letterbox, crop"):
        Placement((1, 1), (1, 1), "fit")
