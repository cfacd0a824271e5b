"""Skeletons on images: limbs in the object's color, keypoints in their side's, the first object on top."""

import numpy as np
import pytest

from visiontasks.drawing.colors import color
from visiontasks.drawing.keypoints import LEFT, MIDDLE, RIGHT, side_colors, side_entries, skeletons
from visiontasks.skeleton import COCO_PERSON, Skeleton

SKELETON = Skeleton(["nose", "left_hand", "right_hand"], limbs=[(0, 1), (0, 2)])
IMAGE = np.full((300, 400, 3), 90, np.uint8)
POINTS = np.float32([[200, 50, 2], [330, 250, 2], [70, 250, 2]])


def around(drawn, x, y, reach=2):
    x, y = int(x), int(y)
    return drawn[y - reach : y + reach + 1, x - reach : x + reach + 1].reshape(-1, 3)


def has(drawn, x, y, ink, reach=2):
    return (around(drawn, x, y, reach) == ink).all(axis=-1).any()


def test_keypoints_lie_at_their_places_and_limbs_between_them():
    drawn = skeletons(IMAGE, [POINTS], SKELETON, [color(0)])
    assert drawn.shape == IMAGE.shape and (IMAGE == 90).all()
    for (x, y, _), ink in zip(POINTS, (MIDDLE, LEFT, RIGHT), strict=True):
        assert has(drawn, x, y, ink)
    for one, other in SKELETON.limbs:
        assert has(drawn, *(POINTS[one, :2] + POINTS[other, :2]) / 2, color(0))
    assert (drawn[280:] == 90).all() and (drawn[:30] == 90).all()


def test_what_was_not_found_has_neither_point_nor_limb():
    points = POINTS.copy()
    points[1, 2] = 0
    drawn = skeletons(IMAGE, [points], SKELETON, [color(0)])
    assert (around(drawn, 330, 250, 8) == 90).all() and (around(drawn, 265, 150) == 90).all()
    assert has(drawn, 70, 250, RIGHT)
    assert (skeletons(IMAGE, [points * [1, 1, 0]], SKELETON, [color(0)]) == 90).all()


def test_a_hidden_keypoint_is_hollow():
    points = POINTS.copy()
    points[1, 2] = 1
    drawn = skeletons(IMAGE, [points], SKELETON, [color(0)])
    assert not (drawn[250, 330] == LEFT).all() and has(drawn, 330, 250, LEFT, 8)


def test_the_first_object_is_on_top():
    flat = np.float32([[100, 150, 2], [300, 150, 2], [100, 150, 0]])
    for inks in ([color(0), color(1)], [color(1), color(0)]):
        drawn = skeletons(IMAGE, [flat, flat], SKELETON, inks)
        assert has(drawn, 200, 150, inks[0], 1) and not has(drawn, 200, 150, inks[1], 1)


def test_a_point_outside_of_the_image_is_no_error():
    drawn = skeletons(IMAGE, [POINTS + np.float32([300, 200, 0])], SKELETON, [color(0)])
    assert drawn.shape == IMAGE.shape


@pytest.mark.parametrize("factor", [0.25, 12])
def test_places_are_scaled_with_a_drawing_that_is(factor):
    """Small images are enlarged, and large ones reduced."""
    image = np.full((int(300 * factor), int(400 * factor), 3), 90, np.uint8)
    drawn = skeletons(image, [POINTS * [factor, factor, 1]], SKELETON, [color(0)])
    grown = drawn.shape[1] / 400
    assert has(drawn, 330 * grown, 250 * grown, LEFT, 4) and has(drawn, 70 * grown, 250 * grown, RIGHT, 4)


def test_colors_say_the_side():
    assert side_colors(SKELETON) == [MIDDLE, LEFT, RIGHT]
    inks = dict(zip(COCO_PERSON, side_colors(COCO_PERSON), strict=True))
    assert inks["left_eye"] == LEFT and inks["right_ankle"] == RIGHT and inks["nose"] == MIDDLE
    assert [entry.name for entry in side_entries(SKELETON)] == ["left", "right"]
    assert side_entries(Skeleton(["snout", "tail"])) == []
