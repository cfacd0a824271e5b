"""Drawn figures: keypoints, masks and boxes must tell the same story, and a body must look like one."""

import pickle

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from visiontasks.data import figures
from visiontasks.data.bodies import BEND, LEAN
from visiontasks.data.figures import BEHIND, CLASSES, HEIGHTS, LIMBS, POINTS, draw_figures
from visiontasks.data.mirror import partners
from visiontasks.data.scenes import SHOWN
from visiontasks.data.sources.shapes import Shapes
from visiontasks.errors import UserError
from visiontasks.sample import FIELDS

SIZES = [(32, 48), (64, 64), (200, 96), (256, 256)]
SOURCE = Shapes(count=60, seed=3, size=(128, 160), scene="figures")


def scenes(count=40, size=(128, 160), objects=(1, 4)):
    return [draw_figures(np.random.default_rng([5, index]), size, objects) for index in range(count)]


def bodies(**arguments):
    """{name: (x, y)} of each figure that is wholly within its image, and whether it shows its back."""
    for scene in scenes(**arguments):
        for number, keypoints in enumerate(scene.keypoints):
            if (keypoints[:, 2] > 0).all():
                x, y = keypoints[0, :2].astype(int)
                behind = keypoints[0, 2] == 1 and scene.owner[y, x] == number
                # a nose behind another figure does not tell
                if behind or keypoints[0, 2] == 2:
                    yield dict(zip(POINTS, keypoints[:, :2].astype(float), strict=True)), behind


def length(body, first, second):
    return np.linalg.norm(body[first] - body[second])


def test_limbs_join_all_points_in_a_tree():
    assert len(POINTS) == 13 and len(LIMBS) == 12
    joined = {"nose"}
    for start, end in LIMBS:  # each limb starts at a point that an earlier one has reached
        assert start in joined and end in POINTS and end not in joined
        joined.add(end)
    mirrored = partners(POINTS, "HorizontalFlip")
    assert all(POINTS[k].startswith(("left", "right")) == (mirrored[k] != k) for k in range(13))


def test_every_field_is_present_and_agrees():
    assert SOURCE.names["keypoints"] == POINTS and SOURCE.names["mask"] == ("background", *CLASSES)
    assert SOURCE.names["label"] == SOURCE.names["tags"] == SOURCE.names["classes"] == ("person",)
    for sample in map(SOURCE.__getitem__, range(len(SOURCE))):
        assert {name for name in FIELDS if getattr(sample, name) is not None} == SOURCE.fields
        masks = np.asarray(sample.instance_masks)
        assert sample.image.shape == (128, 160, 3) and sample.keypoints.shape == (len(masks), 13, 3)
        assert sample.label == 0 and sample.tags.tolist() == [1] and not sample.classes.any()
        np.testing.assert_array_equal(sample.mask, masks.sum(axis=0))  # what is seen of two figures never overlaps
        x, y, width, height = coco.toBbox(coco.encode(np.asfortranarray(masks.transpose(1, 2, 0)))).T
        np.testing.assert_array_equal(sample.boxes, np.stack([x, y, x + width, y + height], axis=1))


def test_a_sample_depends_on_its_arguments_alone():
    again = pickle.loads(pickle.dumps(Shapes(count=90, seed=3, size=(128, 160), scene="figures")))
    again[70]
    for index in (4, 0):
        for name in ("image", *FIELDS):
            np.testing.assert_array_equal(getattr(SOURCE[index], name), getattr(again[index], name))
    assert np.abs(SOURCE[0].image.astype(int) - SOURCE[1].image).mean() > 5
    assert Shapes().describe(3) == "shapes/0/3" and Shapes(scene="figures").describe(3) == "figures/0/3"
    np.testing.assert_array_equal(Shapes()[0].image, Shapes(scene="shapes")[0].image)


@pytest.mark.parametrize("size", SIZES)
def test_visible_points_lie_on_their_figure_and_hidden_ones_on_another(size):
    counts = np.zeros(3, int)
    for scene in scenes(size=size, objects=(2, 6)):
        for number, keypoints in enumerate(scene.keypoints):
            for name, (x, y, visibility) in zip(POINTS, keypoints, strict=True):
                counts[int(visibility)] += 1
                if visibility == 0:
                    assert x == y == 0
                    continue
                owner = scene.owner[int(y), int(x)]
                if visibility == 2:
                    assert owner == number, name
                elif owner == number:
                    assert name == "nose"  # seen from behind
                else:
                    assert owner > number, name
    assert counts[2] > 0.7 * counts.sum() and counts[1] > 0.05 * counts.sum() and counts[0] > 0


@pytest.mark.parametrize("size", SIZES)
def test_figures_stay_at_least_half_visible(size, monkeypatch):
    made, compose = [], figures.compose

    def spy(rng, size, objects, make):
        def record(*arguments):
            made.append(make(*arguments))
            return made[-1]

        return compose(rng, size, objects, record)

    monkeypatch.setattr(figures, "compose", spy)
    cut = 0
    for seed in range(30):
        made.clear()
        scene = draw_figures(np.random.default_rng(seed), size, (2, 6))
        for number, keypoints in enumerate(scene.keypoints):
            seen = np.count_nonzero(scene.owner == number)
            # the figure is the one that has these points; `area` also counts what is outside of the image
            item = next(
                item
                for item in made
                if all(np.allclose(p[:2], q, atol=1e-3) for p, q in zip(keypoints, item.points, strict=True) if p[2])
            )
            assert item.seen == seen >= SHOWN * item.area
            cut += seen < item.area
    assert cut > 30


def test_the_number_of_figures_is_bounded_and_never_zero():
    for low, high in ((1, 1), (3, 3), (1, 4)):
        numbers = [len(scene.classes) for scene in scenes(size=(96, 96), objects=(low, high))]
        assert min(numbers) >= 1 and max(numbers) == high
    for size in ((32, 32), (32, 300), (300, 32)):
        assert all(len(scene.classes) == 1 for scene in scenes(100, size, (1, 1)))
    draw_figures(np.random.default_rng(0), (32, 300), (1, 40))  # more than there is room for


def test_limbs_are_in_proportion():
    count = 0
    for body, _ in bodies(count=80, size=(200, 220)):
        # what does not shorten with the pose; 0.28 of the height
        torso = np.linalg.norm(
            (body["left_shoulder"] + body["right_shoulder"] - body["left_hip"] - body["right_hip"]) / 2
        )
        height = torso / 0.28
        assert HEIGHTS[0] * 199 <= height <= HEIGHTS[1] * 201
        for side in ("left", "right"):
            assert 0.10 < length(body, f"{side}_elbow", f"{side}_wrist") / height < 0.16
            assert 0.12 < length(body, f"{side}_shoulder", f"{side}_elbow") / height < 0.19
            assert 0.18 < length(body, f"{side}_hip", f"{side}_knee") / height < 0.25
            assert 0.17 < length(body, f"{side}_knee", f"{side}_ankle") / height < 0.24
        for part, low, high in (("shoulder", 0.19, 0.29), ("hip", 0.11, 0.17)):
            assert low < length(body, f"left_{part}", f"right_{part}") / height < high
        count += 1
    assert count > 100


def test_left_is_on_the_image_s_right_of_figures_that_face_the_viewer():
    turned, leans = [], []
    for body, behind in bodies(count=150):
        down = body["left_hip"] + body["right_hip"] - body["left_shoulder"] - body["right_shoulder"]
        leans.append(abs(np.degrees(np.arctan2(down[0], down[1]))))
        for part in ("shoulder", "hip"):
            across = body[f"left_{part}"] - body[f"right_{part}"]
            assert (across[0] * down[1] - across[1] * down[0] > 0) != behind
            assert (across[0] > 0) != behind  # the lean is small
        turned.append(behind)
    assert 20 < max(leans) < LEAN + BEND + 0.1 <= 35.1
    assert len(turned) > 200 and abs(np.mean(turned) - BEHIND) < 0.08


def test_knees_bend_inwards():
    for body, behind in bodies():
        outwards = {"left": -1 if behind else 1, "right": 1 if behind else -1}
        for side, sign in outwards.items():
            thigh = body[f"{side}_knee"] - body[f"{side}_hip"]
            shank = body[f"{side}_ankle"] - body[f"{side}_knee"]
            assert sign * (thigh[0] * shank[1] - thigh[1] * shank[0]) >= -1e-3


def test_the_left_sleeve_is_lighter_than_the_right_one():
    differences = []
    for scene in scenes(80, (200, 200)):
        image = cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY).astype(int)
        for number, keypoints in enumerate(scene.keypoints):
            # where the sleeve ends between shoulder and elbow, it is still the shirt's color
            left, right = (0.7 * keypoints[k, :2] + 0.3 * keypoints[k + 2, :2] for k in (1, 2))
            pixels = [tuple(point[::-1].astype(int)) for point in (left, right)]
            if (keypoints[1:5, 2] == 2).all() and all(scene.owner[pixel] == number for pixel in pixels):
                differences.append(image[pixels[0]] - image[pixels[1]])
    assert len(differences) > 80 and np.mean(np.array(differences) > 0) > 0.75


def test_a_scene_that_is_unknown_is_refused():
    with pytest.raises(UserError, match="scene: expected .*figures.*got 'people'"):
        Shapes(scene="people")
