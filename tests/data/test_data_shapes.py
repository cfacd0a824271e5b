"""Drawn scenes: every label must tell the same story; pycocotools is the reference for boxes and areas."""

import pickle

import numpy as np
import pytest
from pycocotools import mask as coco

from visiontasks.data.scenes import CLASSES, POINTS, SHOWN, draw_scene
from visiontasks.data.sources.shapes import Shapes
from visiontasks.errors import UserError
from visiontasks.sample import FIELDS

SOURCE = Shapes(count=60, seed=3, size=(128, 160))


def samples():
    return [SOURCE[index] for index in range(len(SOURCE))]


def test_every_field_is_present():
    sample = SOURCE[0]
    assert SOURCE.fields == set(FIELDS) - {"known", "ignored"}
    assert sample.known is None and sample.ignored is None  # all is known, nothing ignored
    for name in SOURCE.fields:
        value = np.asarray(getattr(sample, name))
        assert value.ndim == FIELDS[name].ndim and len(SOURCE.names.get(name, CLASSES)) >= 5
    assert sample.image.shape == (128, 160, 3) and sample.tags.shape == (len(CLASSES),)
    assert sample.keypoints.shape[1:] == (len(POINTS), 3)
    assert SOURCE.names["mask"] == ("background", *SOURCE.names["classes"])


def test_a_sample_depends_on_seed_and_index_alone():
    once, again = Shapes(count=5, seed=1), Shapes(count=900, seed=1)
    again[7]
    for index in (4, 0, 2):
        a, b = once[index], again[index]
        for name in ("image", *FIELDS):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    b = pickle.loads(pickle.dumps(again))[4]
    np.testing.assert_array_equal(once[4].image, b.image)


def test_other_seeds_and_indices_give_other_scenes():
    images = [Shapes(seed=seed)[index].image for seed in (0, 1) for index in (0, 1)]
    for i in range(4):
        for j in range(i):
            assert np.abs(images[i].astype(int) - images[j]).mean() > 5


def test_masks_boxes_classes_and_tags_agree():
    for sample in samples():
        assert (np.asarray(sample.instance_masks).sum(axis=0) <= 1).all()  # what is seen of two objects never overlaps
        semantic = (np.asarray(sample.instance_masks) * (sample.classes + 1)[:, None, None]).sum(axis=0)
        np.testing.assert_array_equal(sample.mask, semantic)
        runs = coco.encode(np.asfortranarray(np.asarray(sample.instance_masks).transpose(1, 2, 0)))
        x, y, width, height = coco.toBbox(runs).T
        np.testing.assert_array_equal(sample.boxes, np.stack([x, y, x + width, y + height], axis=1))
        assert sample.label == sample.classes[np.argmax(coco.area(runs))]
        assert set(np.flatnonzero(sample.tags)) == set(sample.classes)
        assert 1 <= len(sample.classes) <= 6


def test_points_lie_where_their_objects_are():
    names = list(POINTS)
    seen = 0
    for sample in samples():
        height, width = sample.mask.shape
        for points, mask, number in zip(
            sample.keypoints, np.asarray(sample.instance_masks), sample.classes, strict=True
        ):
            for name, (x, y, visibility) in zip(names, points, strict=True):
                if visibility == 0:
                    assert x == y == 0
                    continue
                assert 0 <= x < width and 0 <= y < height
                near = mask[max(0, int(y) - 2) : int(y) + 3, max(0, int(x) - 2) : int(x) + 3]
                if visibility == 2 and not (name == "center" and CLASSES[number] == "ring"):
                    assert near.any(), (sample.id, name, CLASSES[number])
                    seen += 1
                if visibility == 1:
                    assert not mask[int(y), int(x)]
    assert seen > 500


def test_axes_of_points_are_right_handed_and_upright():
    for sample in samples():
        for points in sample.keypoints:
            if (points[:, 2] > 0).all():
                center, top, right, bottom, left = points[:, :2]
                assert top[1] < center[1] < bottom[1] and left[0] < center[0] < right[0]


def test_circles_in_the_open_are_as_large_as_their_box():
    result = 0
    for sample in samples():
        for box, mask, points, number in zip(
            sample.boxes, np.asarray(sample.instance_masks), sample.keypoints, sample.classes, strict=True
        ):
            x1, y1, x2, y2 = box
            whole = (points[:, 2] == 2).all() and CLASSES[number] == "circle"
            if whole and min(x1, y1) > 0 and x2 < 160 and y2 < 128:
                expected = np.pi / 4 * (x2 - x1) * (y2 - y1)
                if mask.sum() < 0.93 * expected:  # cut by a neighbor between its four tips
                    continue
                assert abs(mask.sum() - expected) < 0.07 * expected
                np.testing.assert_allclose(points[0, :2], [(x1 + x2) / 2, (y1 + y2) / 2], atol=1)
                np.testing.assert_allclose(points[1:, 0], [points[0, 0], x2, points[0, 0], x1], atol=1.5)
                result += 1
    assert result >= 5


def test_no_object_is_hidden_beyond_naming():
    full_area = {"circle": np.pi, "square": 2.645, "triangle": 1.718}  # in radii squared, at the mean stretch
    for sample in samples():
        for mask, number in zip(np.asarray(sample.instance_masks), sample.classes, strict=True):
            # the smallest radius is 0.12 of the shorter side; the least stretch exp(-0.15) each way
            least = SHOWN * full_area.get(CLASSES[number], 1.0) * (0.12 * 128) ** 2 * np.exp(-0.3)
            assert mask.sum() >= 0.9 * least


def test_all_classes_come_about_equally_often():
    counts = np.bincount(np.concatenate([Shapes(size=(64, 64))[i].classes for i in range(300)]), minlength=len(CLASSES))
    assert counts.min() > 0.1 * counts.sum()  # 1/6 if equal


def test_objects_bound_the_number():
    for low, high in ((1, 1), (3, 3), (1, 4)):
        numbers = [len(Shapes(objects=(low, high), size=(96, 96))[i].classes) for i in range(30)]
        assert min(numbers) >= 1 and max(numbers) == high
    draw_scene(np.random.default_rng(0), (32, 300), (1, 40))  # more than there is room for


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count: expected a whole number from 1 to 1000000, got 0"),
        ({"seed": -1}, "seed: expected a whole number from 0 to below 4294967296, got -1"),
        ({"size": [16, 64]}, "of 32 to 16384 pixels"),
        ({"size": [32, 2**31]}, "of 32 to 16384 pixels"),
        ({"size": [64]}, "height, width"),
        ({"objects": [4, 2]}, "least, most"),
        ({"objects": [0, 2]}, "least, most"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        Shapes(**arguments)


def test_index_beyond_the_count():
    with pytest.raises(IndexError):
        Shapes(count=2)[2]
