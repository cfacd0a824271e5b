"""People of several views: mirrored ones are averaged, those that tiles cut are one, and neighbors stay two."""

import numpy as np
import pytest

from visiontasks.evaluation.tasks.pose import Pose
from visiontasks.inference.merging_keypoints import merge_keypoints
from visiontasks.inference.views import views
from visiontasks.ops.numpy_keypoints import boxes_around
from visiontasks.preprocess import Preprocess
from visiontasks.skeleton import COCO_PERSON

UNSEEN = 0.01  # the score of a keypoint that the view does not show
# a standing figure of height 1, facing the viewer: its left is on the image's right
FIGURE = np.float32(
    [(0, 0.06), (0.03, 0.03), (-0.03, 0.03), (0.07, 0.05), (-0.07, 0.05), (0.14, 0.2), (-0.14, 0.2), (0.2, 0.38)]
    + [(-0.2, 0.38), (0.22, 0.55), (-0.22, 0.55), (0.09, 0.52), (-0.09, 0.52), (0.1, 0.75), (-0.1, 0.75), (0.1, 0.97)]
    + [(-0.1, 0.97)]
)


def figure(x, y, height):
    """float32 (17, 3): its keypoints, all of score 0.9, around x, from y down."""
    return np.concatenate([FIGURE * height + (x, y), np.full((17, 1), 0.9)], axis=1).astype(np.float32)


def predicted(view, people, scores, noise=0.0, seed=0):
    """What a network would predict for a view: the people in it, cut off at its window's edges."""
    rng = np.random.default_rng(seed)
    top, left, bottom, right = view.window
    found = {"boxes": [], "scores": [], "classes": [], "valid": [], "keypoints": []}
    for person, score in zip(people, scores, strict=True):
        points = person - np.float32([left, top, 0])
        points[:, :2] += rng.normal(0, noise, (17, 2))
        size = np.float32([right - left, bottom - top])
        inside = ((points[:, :2] >= 0) & (points[:, :2] <= size)).all(axis=1)
        if inside.sum() < 2:
            continue
        points[~inside, 2] = UNSEEN
        points[:, :2] = points[:, :2].clip(0, size)
        box = boxes_around(points[None], np.ones((1, 17), bool))[0].reshape(2, 2)
        if view.flipped:
            box[:, 0] = size[0] - box[::-1, 0]
            points[:, 0] = size[0] - points[:, 0]
            points = points[list(COCO_PERSON.partners)]
        scale, offset = np.float32(view.placement.scale[::-1]), np.float32(view.placement.offset[::-1])
        points[:, :2] = points[:, :2] * scale + offset
        for name, value in zip(found, ((box * scale + offset).ravel(), score, 0, True, points), strict=True):
            found[name].append(value)
    shapes = {"boxes": (-1, 4), "keypoints": (-1, 17, 3)}
    types = {"classes": np.int32, "valid": bool}
    return {name: np.array(v, types.get(name, np.float32)).reshape(shapes.get(name, -1)) for name, v in found.items()}


def merged(people, size, scores=None, tile=None, flip=False, noise=0.0, mode="letterbox"):
    parts = views(size, Preprocess((256, 256), mode), tile, 0.25, flip)
    scores = np.linspace(0.9, 0.6, len(people)) if scores is None else scores
    each = [predicted(view, people, scores, noise, seed) for seed, view in enumerate(parts)]
    return Pose(["person"], skeleton=COCO_PERSON).merge(each, parts)


@pytest.mark.parametrize("mode", ["letterbox", "stretch"])
def test_a_mirrored_view_gives_back_left_and_right(mode):
    people = [figure(80, 30, 200), figure(250, 60, 120)]
    found = merged(people, (300, 400), flip=True, mode=mode)
    np.testing.assert_allclose(found["keypoints"], people, atol=0.01)
    np.testing.assert_allclose(found["scores"], [0.9, 0.6], rtol=1e-6)
    assert found["keypoints"][0, 5, 0] > found["keypoints"][0, 6, 0]  # the left shoulder is on the image's right


def test_views_are_averaged_by_their_scores():
    person = figure(80, 30, 200)
    sizes = np.float32([[80, 30, 120, 230]] * 2), np.float32([0.9, 0.8]), np.zeros(2, int)
    points = np.stack([person, person + np.float32([4, 0, -0.6])])
    windows = np.float32([[0, 0, 400, 300]] * 2)
    boxes, scores, classes, keypoints = merge_keypoints(
        *sizes, points, windows, np.array([0, 1]), (300, 400), COCO_PERSON.sigmas
    )
    assert len(boxes) == 1 and scores.tolist() == np.float32([0.9]).tolist() and classes.tolist() == [0]
    body = 5 + np.arange(12)  # of the face 4 pixels are too far away to be the same point, or nearly
    np.testing.assert_allclose(keypoints[0, body, 0], person[body, 0] + 4 * 0.3 / 1.2, atol=1e-3)
    np.testing.assert_allclose(keypoints[0, body, 2], 0.6, atol=1e-6)


def test_noise_of_views_is_smaller_in_their_mean():
    people = [figure(100, 30, 240)]
    alone, both = (merged(people, (300, 200), flip=flip, noise=2.0)["keypoints"] for flip in (False, True))
    errors = [np.linalg.norm(found[0, :, :2] - people[0][:, :2], axis=1).mean() for found in (alone, both)]
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    "person",
    [figure(256, 100, 300), figure(190, 150, 330), figure(120, 190, 240), figure(330, 10, 480)],
    ids=["middle", "large", "seam", "tall"],
)
def test_a_person_cut_by_tiles_is_one_with_all_keypoints(person, flip):
    found = merged([person], (512, 512), tile=256, flip=flip)
    assert len(found["scores"]) == 1
    np.testing.assert_allclose(found["keypoints"][0, :, :2], person[:, :2], atol=0.05)
    assert (found["keypoints"][0, :, 2] > 0.5).all()
    np.testing.assert_allclose(found["boxes"], boxes_around(person[None], np.ones((1, 17), bool)), atol=0.05)


@pytest.mark.parametrize("gap", [40, 60, 90])
@pytest.mark.parametrize("x", [150, 200, 256])
def test_two_people_close_together_stay_two(gap, x):
    people = [figure(x, 90, 220), figure(x + gap, 100, 220)]
    found = merged(people, (400, 512), tile=256, flip=True)
    assert len(found["scores"]) == 2
    order = np.argsort(found["keypoints"][:, 0, 0])
    np.testing.assert_allclose(found["keypoints"][order][..., :2], np.stack(people)[..., :2], atol=0.05)


def test_two_people_of_which_each_tile_shows_one_stay_two():
    people = [figure(120, 60, 150), figure(200, 60, 150)]
    parts = views((256, 320), Preprocess((192, 192)), tile=192)
    each = [predicted(view, people[:1] if view.window[1] == 0 else people[1:], [0.9], seed=0) for view in parts]
    found = Pose(["person"], skeleton=COCO_PERSON).merge(each, parts)
    assert len(found["scores"]) == 2


def test_other_classes_and_people_of_one_view_are_not_merged():
    points = np.stack([figure(80, 30, 200)] * 2)
    boxes, scores, windows = (
        np.float32([[36, 36, 124, 224]] * 2),
        np.float32([0.5, 0.9]),
        np.float32([[0, 0, 400, 300]] * 2),
    )
    for classes, seen_in in (([0, 1], [0, 1]), ([0, 0], [3, 3])):
        found = merge_keypoints(
            boxes, scores, np.array(classes), points, windows, np.array(seen_in), (300, 400), COCO_PERSON.sigmas
        )
        assert found[1].tolist() == np.float32([0.9, 0.5]).tolist() and found[2].tolist() == classes[::-1]


def test_nobody():
    found = merged([], (300, 400), tile=128, flip=True)
    assert found["boxes"].shape == (0, 4) and found["keypoints"].shape == (0, 17, 3)


def test_unknown_pairs_are_not_swapped():
    view = views((100, 200), Preprocess((100, 200)), flip=True)[1]
    points = np.float32([[[10, 20, 0.5], [30, 40, 0.7]]])
    assert view.restore_keypoints(points, None).tolist() == [[[190, 20, 0.5], [170, 40, pytest.approx(0.7)]]]
    assert view.restore_keypoints(points, (1, 0)).tolist() == [[[170, 40, pytest.approx(0.7)], [190, 20, 0.5]]]
    assert points[0, 0, 0] == 10  # left as it was
