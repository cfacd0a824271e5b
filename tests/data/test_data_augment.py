"""Transforms of our own: each object has a color, so that the moved image itself says where its box must be."""

import concurrent.futures
import itertools
import pickle
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visiontasks.data.augment.copy_paste import CopyPaste
from visiontasks.data.augment.mix_up import MixUp
from visiontasks.data.augment.mosaic import Mosaic
from visiontasks.data.augment.object_crop import ObjectCrop
from visiontasks.data.augment.scale_jitter import ScaleJitter
from visiontasks.data.augment.ssd_crop import SSDCrop
from visiontasks.data.augment.zoom_out import ZoomOut
from visiontasks.data.placing import choose, joined, place
from visiontasks.data.transforms import Augment, augmentations, check_augment
from visiontasks.errors import RecipeError
from visiontasks.geometry import PAD_VALUE, Placement, Position
from visiontasks.instance_masks import InstanceMasks
from visiontasks.mask_shapes import Patch
from visiontasks.ops import numpy_boxes
from visiontasks.registry import catalog
from visiontasks.sample import UNLABELED, VOID, Sample

SIZE = (120, 160)
COUNT = 4  # objects an image
IMAGES = 8
EDGE = 3.0  # pixels along an edge that resizing mixes
OBJECT_LABELS = ("boxes", "classes", "instance_masks", "keypoints")


def color(number):
    """Of a class; no two are nearer than 40 in all channels, and none is black or the padding's gray."""
    return np.array([50 + 40 * (number % 5), 50 + 40 * (number // 5 % 5), 250 - 40 * (number // 25)], np.uint8)


def make_sample(number, masks=True, points=True, size=None):
    """Objects of classes 4n to 4n + 3, a column each, on black, in images of several sizes."""
    rng = np.random.default_rng(number)
    height, width = size or (100 + 20 * (number % 3), 160 - 20 * (number % 2))
    image, boxes = np.zeros((height, width, 3), np.uint8), []
    for k in range(COUNT):
        left, top = k * (width // COUNT) + int(rng.integers(0, 8)), int(rng.integers(0, height // 2))
        right, bottom = left + int(rng.integers(12, 26)), top + int(rng.integers(14, height // 2))
        image[top:bottom, left:right] = color(4 * number + k)
        boxes.append((left, top, right, bottom))
    boxes = np.float32(boxes)
    classes = 4 * number + np.arange(COUNT)
    region = np.stack([(image == color(c)).all(axis=-1) for c in classes]).astype(np.uint8)
    labels = {"instance_masks": region} if masks else {}
    if points:
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        labels["keypoints"] = np.dstack([centers[:, None], np.full((COUNT, 1, 1), 2.0)]).astype(np.float32)
    mask = (region * (classes[:, None, None] + 1)).sum(axis=0, dtype=np.int32)
    return Sample(image, boxes=boxes, classes=classes, mask=mask, id=str(number), **labels)


def another(number, **kinds):
    """The images that follow, so that none is there twice and every color tells where it came from."""
    following = itertools.count(number + 1)
    return lambda rng: make_sample(next(following) % IMAGES, **kinds)


def run(augment, number=0, seed=0, **kinds):
    rng = np.random.default_rng(seed)
    return Augment(augment, SIZE, "letterbox")(make_sample(number, **kinds), rng, another(number, **kinds))


def shown(image, number):
    """Where a class's color is for certain: along an edge two colors mix to a third."""
    flat = (cv2.erode(image, np.ones((3, 3))) == cv2.dilate(image, np.ones((3, 3)))).all(axis=-1)
    return flat & (image == color(number)).all(axis=-1)


def assert_tight(box, region):
    rows, columns = np.nonzero(region)
    np.testing.assert_allclose(box, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=EDGE)


def assert_boxes_are_where_the_colours_are(sample, missing=0.0):
    """Every box is as tight around its color as resizing allows, every mask is its color's pixels.

    `missing`: the share of an object's full size below which it need not be labeled.
    """
    height, width = sample.image.shape[:2]
    assert len(set(sample.classes.tolist())) == len(sample.classes)
    for i, (box, number) in enumerate(zip(sample.boxes, sample.classes, strict=True)):
        x1, y1, x2, y2 = np.round(box).astype(int)
        around = np.zeros((height, width), bool)
        around[max(0, y1 - 8) : y2 + 8, max(0, x1 - 8) : x2 + 8] = True
        region = shown(sample.image, number)
        assert not (region & ~around).any()
        if region.any():
            assert_tight(box, region)
        if sample.instance_masks is not None:
            mask = np.asarray(sample.instance_masks, bool)[i]
            assert_tight(box, mask)
            assert (mask ^ region).sum() <= 2 * EDGE * (x2 - x1 + y2 - y1) + 4
    assert (sample.boxes >= 0).all() and (sample.boxes[:, 2:] <= (width, height)).all()
    assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()
    for number in set(range(4 * IMAGES)) - set(sample.classes.tolist()):
        assert shown(sample.image, number).sum() <= missing * 26 * 60, f"class {number} is seen, not labeled"


def assert_other_labels_agree(sample):
    labeled = sample.mask != VOID
    for number in set(range(4 * IMAGES)):
        assert (sample.mask[shown(sample.image, number)] == number + 1).all()
    assert (sample.mask[labeled & (sample.image < 5).all(axis=-1)] == 0).mean() > 0.98
    gray = (sample.image == PAD_VALUE).all(axis=-1)
    assert (gray == ~labeled).mean() > 0.97
    if sample.keypoints is not None:
        for (x, y, visible), number in zip(sample.keypoints[:, 0], sample.classes, strict=True):
            if visible == 2:
                row, column = min(int(y), labeled.shape[0] - 1), min(int(x), labeled.shape[1] - 1)
                near = sample.image[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
                assert (np.abs(near.astype(int) - color(number)) < 60).all(axis=-1).any()


LISTS = {
    "Mosaic": (["Mosaic"], 0.15),
    "Mosaic+flip": (["Mosaic", {"HorizontalFlip": {"p": 1.0}}], 0.15),
    "flip+Mosaic": ([{"HorizontalFlip": {"p": 1.0}}, "Mosaic"], 0.15),
    "ZoomOut": ([{"ZoomOut": {"p": 1.0}}], 0.0),
    "ScaleJitter": ([{"ScaleJitter": {"scale": [0.5, 2.0]}}], 0.4),
}


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("masks", [True, False], ids=["masks", "boxes"])
@pytest.mark.parametrize("name", LISTS)
def test_boxes_masks_and_points_move_with_what_they_mean(name, masks, seed):
    augment, missing = LISTS[name]
    moved = run(augment, seed % IMAGES, seed, masks=masks)
    assert moved.image.shape == (*SIZE, 3) and moved.image.dtype == np.uint8 and moved.areas is None
    lengths = {len(getattr(moved, field)) for field in OBJECT_LABELS if getattr(moved, field) is not None}
    assert len(lengths) == 1 and (moved.instance_masks is None) == (not masks)
    assert_boxes_are_where_the_colours_are(moved, missing)
    assert_other_labels_agree(moved)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("masks", [True, False], ids=["masks", "boxes"])
@pytest.mark.parametrize("before", [[], [{"HorizontalFlip": {"p": 0.5}}]], ids=["", "flip"])
def test_what_is_pasted_and_what_it_hides_is_exact(before, masks, seed):
    augment = [*before, {"CopyPaste": {"p": 1.0, "blend": 0, "visible": 0.1}}]
    result = run(augment, seed % IMAGES, seed, masks=masks, size=SIZE)
    assert len(set(result.classes.tolist())) == len(result.classes) >= 1
    visible = {n: (result.image == color(n)).all(axis=-1) for n in range(4 * IMAGES)}
    for i, number in enumerate(result.classes):
        rows, columns = np.nonzero(visible[number])
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(result.boxes[i], seen, atol=1e-3)
        if masks:
            np.testing.assert_array_equal(result.instance_masks[i], [visible[number]])
        (x, y, seen), region = result.keypoints[i, 0], visible[number]
        if seen == 2:
            assert region[int(y), int(x)]
        elif seen == 1:
            assert not region[int(y), int(x)]
    for number, region in visible.items():
        assert (result.mask[region] == number + 1).all()
        if number not in result.classes:
            assert region.sum() < 0.1 * 26 * 60
    assert (result.mask == 0).sum() == (result.image == 0).all(axis=-1).sum()
    assert set(result.classes // 4) <= {seed % IMAGES, (seed + 1) % IMAGES}
    assert (seed + 1) % IMAGES in result.classes // 4


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_a_crop_keeps_the_objects_whose_center_it_shows(seed):
    whole, rng = make_sample(seed % IMAGES), np.random.default_rng(seed)
    moved = Augment(["SSDCrop"], whole.image.shape[:2], "stretch")(whole, rng)
    assert 1 <= len(moved.boxes) <= COUNT
    # where the image's corners went: from the kept objects' own centers, which are their keypoints
    for number, points in zip(moved.classes, moved.keypoints, strict=True):
        x, y, visible = points[0]
        assert visible == 2 and 0 <= x <= whole.image.shape[1]
        assert shown(moved.image[max(0, int(y) - 2) : int(y) + 3, max(0, int(x) - 2) : int(x) + 3], number).any()
    for box, number, mask in zip(moved.boxes, moved.classes, np.asarray(moved.instance_masks), strict=True):
        rows, columns = np.nonzero(shown(moved.image, number))
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box, seen, atol=5)  # up to three pixels of the canvas for one of the image
        assert (mask.astype(bool) ^ shown(moved.image, number)).sum() < 12 * (box[2] - box[0] + box[3] - box[1])


def test_crops_overlap_as_asked_keep_their_aspect_and_are_as_often_each_kind():
    crop, kinds = SSDCrop(), []
    whole = make_sample(1)
    height, width = whole.image.shape[:2]
    for least in (0.1, 0.3, 0.5):
        for seed in range(40):
            patch = crop._patch((height, width), whole.boxes, np.random.default_rng(seed), least)
            if patch is None:
                continue
            x1, y1, x2, y2 = patch
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
            assert 0.29 <= (x2 - x1) / width <= 1 and 0.29 <= (y2 - y1) / height <= 1
            assert 0.49 <= (x2 - x1) / (y2 - y1) <= 2.05
            assert numpy_boxes.iou(np.float32([patch]), whole.boxes).max() >= least
    large = Sample(whole.image, boxes=np.float32([[5, 5, width - 5, height - 5]]), classes=np.zeros(1, int))
    for seed in range(300):
        moved = crop(large, np.random.default_rng(seed), None)
        kinds.append(moved.image.shape == whole.image.shape)
    # one of seven choices is the whole image; .9 of so large an object is sometimes given up
    assert 300 / 7 * 0.6 < sum(kinds) < 300 / 7 * 1.8


def test_an_image_without_objects_is_not_cropped():
    bare = Sample(make_sample(0).image, boxes=np.zeros((0, 4), np.float32), classes=np.zeros(0, int))
    assert SSDCrop()(bare, np.random.default_rng(0), None) is bare
    nobody = Sample(make_sample(0).image)
    assert SSDCrop()(nobody, np.random.default_rng(0), None) is nobody


def test_a_panorama_of_which_no_patch_has_the_aspect_asked_for_stays_whole():
    wide = Sample(np.zeros((100, 1000, 3), np.uint8), boxes=np.float32([[5, 5, 50, 50]]), classes=np.int32([0]))
    narrow = SSDCrop(scale=(0.9, 1.0))
    for seed in range(20):
        assert narrow(wide, np.random.default_rng(seed), None) is wide
        SSDCrop()(wide, np.random.default_rng(seed), None)


def test_zoom_out_never_grows_beyond_what_the_canvas_can_show():
    big = Sample(np.zeros((1200, 1600, 3), np.uint8), boxes=np.float32([[0, 0, 1600, 1200]]), classes=np.zeros(1, int))
    for seed in range(10):
        seen = []

        class Stage:
            size = (100, 100)

        moved = ZoomOut(p=1.0)(big, np.random.default_rng(seed), Stage)
        assert max(moved.image.shape[:2]) <= 300 + 1
        sides = moved.boxes[0, 2:] - moved.boxes[0, :2]
        ratio = moved.image.shape[1] / sides[0]
        assert 0.98 <= ratio <= 4.1 and abs(moved.image.shape[0] / sides[1] - ratio) < 0.05 * ratio
        seen.append(ratio)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_mix_up_is_both_images_with_the_objects_of_both(seed):
    own, other = make_sample(0), make_sample(1)
    mixed = Augment([{"MixUp": {"p": 1.0}}], SIZE, "letterbox")(own, np.random.default_rng(seed), lambda rng: other)
    placed = [place(one, Placement(one.image.shape[:2], SIZE, "letterbox")) for one in (own, other)]
    np.testing.assert_array_equal(mixed.mask, placed[0].mask)
    first, second = (one.image.astype(float) for one in placed)
    where = np.abs(first - second) > 40
    weights = ((mixed.image - second)[where] / (first - second)[where]).round(2)
    assert np.ptp(weights) < 0.05 and 0.49 <= weights.mean() <= 1
    for field in OBJECT_LABELS:
        both = [getattr(one, field) for one in placed]
        if abs(weights.mean() - 0.9) > 0.02:  # a tenth of the other image is what can be seen
            expected = np.concatenate(both) if weights.mean() < 0.9 else both[0]
            np.testing.assert_allclose(getattr(mixed, field), expected, atol=1e-3)


def test_what_is_pasted_hides_what_lies_below():
    low = Sample(
        np.full((40, 60, 3), 10, np.uint8),
        boxes=np.float32([[0, 10, 20, 30], [30, 10, 50, 30], [32, 12, 36, 16]]),
        classes=np.array([0, 1, 2]),
        ignored=np.array([False, True, False]),
        areas=np.array([400.0, 400, 16]),
        keypoints=np.float32([[[10, 20, 2]], [[35, 20, 2]], [[34, 14, 1]]]),
    )
    top = Sample(np.full((40, 60, 3), 200, np.uint8), boxes=np.float32([[28, 8, 40, 32]]), classes=np.array([5]))
    top = top.replace(keypoints=np.float32([[[30, 10, 2]]]))
    augment = Augment([{"CopyPaste": {"p": 1.0, "blend": 0}}], (40, 60))
    result = augment(low, np.random.default_rng(0), lambda rng: top)
    assert result.classes.tolist() == [0, 1, 5] and result.ignored.tolist() == [False, True, False]
    assert result.areas is None
    np.testing.assert_array_equal(result.boxes, [[0, 10, 20, 30], [40, 10, 50, 30], [28, 8, 40, 32]])
    np.testing.assert_array_equal(result.keypoints[:, 0], [[10, 20, 2], [35, 20, 1], [30, 10, 2]])
    expected = low.image.copy()
    expected[8:32, 28:40] = 200
    np.testing.assert_array_equal(result.image, expected)


def test_what_is_left_of_an_ignored_region_stays_ignored():
    """A twentieth of an object is left, and is dropped."""
    low = Sample(
        np.full((40, 60, 3), 10, np.uint8),
        boxes=np.float32([[0, 10, 20, 30], [40, 10, 60, 30]]),
        classes=np.array([0, 1]),
        ignored=np.array([True, False]),
    )
    top = Sample(np.full((40, 60, 3), 200, np.uint8), boxes=np.float32([[2, 0, 59, 40]]), classes=np.array([5]))
    result = Augment([{"CopyPaste": {"p": 1.0, "blend": 0}}], (40, 60))(low, np.random.default_rng(0), lambda rng: top)
    assert result.classes.tolist() == [0, 5] and result.ignored.tolist() == [True, False]
    np.testing.assert_array_equal(result.boxes[0], [0, 10, 2, 30])


def test_boxes_that_are_pasted_bring_along_what_else_they_show():
    top = Sample(
        np.full((40, 60, 3), 200, np.uint8),
        boxes=np.float32([[10, 10, 30, 30], [20, 12, 40, 28], [50, 0, 60, 10]]),
        classes=np.array([1, 2, 3]),
    )
    ground = Sample(np.zeros((40, 60, 3), np.uint8), boxes=np.zeros((0, 4), np.float32), classes=np.zeros(0, int))
    augment, seen = Augment([{"CopyPaste": {"p": 1.0, "blend": 0}}], (40, 60)), set()
    for seed in range(40):
        result = augment(ground, np.random.default_rng(seed), lambda rng: top)
        boxes = {int(c): tuple(box) for c, box in zip(result.classes, result.boxes.tolist(), strict=True)}
        seen.add(tuple(sorted(boxes)))
        region = result.image[..., 0] == 200
        whole = {int(c): tuple(box) for c, box in zip(top.classes, top.boxes.tolist(), strict=True)}
        for x1, y1, x2, y2 in boxes.values():
            assert region[int(y1) : int(y2), int(x1) : int(x2)].all()
        if boxes.keys() == {1, 2} and boxes[1] == whole[1] and boxes[2] != whole[2]:
            assert boxes[2] == (20, 12, 30, 28)
    assert (1, 2) in seen and (3,) in seen and (1, 2, 3) in seen and not {(1,), (2,)} & seen


def test_images_of_unlike_labels_are_not_mixed_up():
    nobody = Sample(make_sample(1).image)
    for name in ("MixUp", "CopyPaste"):
        augment = Augment([{name: {"p": 1.0}}], SIZE, "letterbox")
        own = place(make_sample(0), Placement(make_sample(0).image.shape[:2], SIZE, "letterbox"))
        for pair in ((own, nobody), (nobody, own)):
            result = augment(pair[0], np.random.default_rng(0), lambda rng, pair=pair: pair[1])
            assert (result.boxes is None) == (pair[0].boxes is None)
    # of four images one of which nobody labeled, nothing is known of the whole
    result = Augment(["Mosaic"], SIZE)(make_sample(0), np.random.default_rng(0), lambda rng: nobody)
    assert result.boxes is None and result.classes is None and result.mask is None


def test_a_class_is_known_of_several_images_where_it_is_of_each():
    def with_(known):
        return Sample(np.zeros((4, 4, 3), np.uint8), boxes=np.zeros((0, 4), np.float32), known=known)

    both = joined([with_(np.array([True, True, False])), with_(np.array([False, True, True]))])
    assert both["known"].tolist() == [False, True, False]
    assert joined([with_(None), with_(np.array([False, True]))])["known"].tolist() == [False, True]
    assert joined([with_(None), with_(None)])["known"] is None


def test_an_ignored_region_is_never_pasted_and_stays_in_a_crop_that_cuts_it():
    ground = Sample(np.zeros((40, 60, 3), np.uint8), boxes=np.zeros((0, 4), np.float32), classes=np.zeros(0, int))
    region, box = [0, 0, 60, 12], [4, 20, 14, 30]
    other = ground.replace(boxes=np.float32([region, box]), classes=np.array([1, 0]), ignored=np.array([True, False]))
    for seed in range(5):
        moved = Augment(["CopyPaste"], (40, 60))(ground, np.random.default_rng(seed), lambda rng: other)
        assert 1 not in moved.classes.tolist()
    cut = 0
    for seed in range(40):
        moved = Augment(["SSDCrop"], (40, 60))(other, np.random.default_rng(seed))
        assert 0 in moved.classes.tolist()  # the patch is chosen for the object alone
        cut += 1 in moved.classes.tolist() and not np.array_equal(moved.boxes[0], region)
    assert cut > 5
    left = place(other, Position((40, 60), (40, 60), (40, 60), (-11, 0)), visible=0.5)
    assert left.ignored.tolist() == [True, False] and left.boxes[0].tolist() == [0, 0, 60, 1]


def test_labels_of_the_whole_image_stay_where_all_agree():
    def with_(label, tags):
        return Sample(np.zeros((4, 4, 3), np.uint8), label=label, tags=np.float32(tags))

    same = joined([with_(3, [1, 0, 1]), with_(3, [1, 0, 0])])
    assert int(same["label"]) == 3 and same["tags"].tolist() == [1, 0, UNLABELED]
    assert int(joined([with_(3, [1, 0, 1]), with_(4, [-1, 0, 0])])["label"]) == UNLABELED
    Sample(np.zeros((4, 4, 3), np.uint8), **same)


def test_the_four_images_of_a_mosaic_meet_in_one_point():
    gray = iter(range(60, 250, 40))
    flat = {0: 20} | {n: next(gray) for n in (1, 2, 3)}
    numbers = iter((1, 2, 3) * 50)

    def one(number):
        return Sample(
            np.full((50, 70, 3), flat[number], np.uint8), boxes=np.float32([[0, 0, 70, 50]]), classes=[number]
        )

    corners = set()
    for seed in range(30):
        augment = Augment([{"Mosaic": {"scale": [1.0, 1.0], "visible": 0}}], (80, 100))
        result = augment(one(0), np.random.default_rng(seed), lambda rng: one(next(numbers)))
        assert sorted(result.classes.tolist()) == [0, 1, 2, 3]
        boxes = {int(c): box for c, box in zip(result.classes, result.boxes, strict=True)}
        middle = {tuple(np.sort(result.boxes[:, [0, 2]].ravel())[3:5].tolist()) for _ in (0,)}
        ((left, right),) = middle
        assert left == right and 0.25 * 100 - 1 <= left <= 0.75 * 100 + 1
        for number, (x1, y1, x2, y2) in boxes.items():
            assert (result.image[round(y1) : round(y2), round(x1) : round(x2)] == flat[number]).all()
        x1, y1 = boxes[0][:2]
        corners.add((x1 < left, y1 < np.sort(result.boxes[:, [1, 3]].ravel())[3]))
    assert len(corners) == 4  # the image itself is in no corner more often than in the others


def test_mosaics_end_with_an_epoch():
    augment = Augment([{"Mosaic": {"epochs": 3}}], SIZE, "letterbox")
    plain = Augment([], SIZE, "letterbox")(make_sample(0), np.random.default_rng(0)).image
    result = [augment(make_sample(0), np.random.default_rng(0), another(0), epoch).image for epoch in range(5)]
    assert [bool((image == plain).all()) for image in result] == [False, False, False, True, True]


@pytest.mark.parametrize("name", sorted(augmentations()))
def test_the_result_depends_on_the_generator_alone(name):
    chain = [{"Affine": {"rotate": [-20, 20], "p": 0.7}}, {name: {"p": 0.8}}, {"GaussNoise": {}}]
    samples = [make_sample(n) for n in range(IMAGES)]
    if name == "ObjectCrop":  # it comes first, and has one object
        chain, samples = [chain[1], chain[0], chain[2]], [choose(one, np.array([0])) for one in samples]
    augment = Augment(chain, (48, 64), "object" if name == "ObjectCrop" else "stretch")

    def one(number, augment=augment):
        return augment(samples[number % 8], np.random.default_rng(number), lambda r: samples[int(r.integers(8))])

    expected = [one(n) for n in range(24)]
    copied = pickle.loads(pickle.dumps(augment))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        threaded = list(pool.map(one, range(24)))
    for first, *others in zip(expected, threaded, [one(n, copied) for n in range(24)], strict=True):
        for other in others:
            for field in ("image", "mask", *OBJECT_LABELS):
                np.testing.assert_array_equal(getattr(first, field), getattr(other, field))
    assert len({one.image.tobytes() for one in expected}) > 20


def test_what_stands_before_is_done_to_every_image():
    augment = Augment([{"VerticalFlip": {"p": 1.0}}, {"MixUp": {"p": 1.0, "alpha": 1e5}}], (100, 160))
    own, other = make_sample(0), make_sample(0).replace(classes=np.arange(4) + 4)
    result = augment(own, np.random.default_rng(0), lambda rng: other)
    np.testing.assert_array_equal(result.image, own.image[::-1])
    np.testing.assert_allclose(result.boxes[:4], result.boxes[4:])


def test_a_position_is_the_law_it_states():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    for offset in ((0, 0), (-7, 3), (5, -9), (-20, -30), (40, 0), (0, -100)):
        result = Position((30, 40), (25, 35), (30, 40), offset).place_image(image)
        for row, column in np.ndindex(25, 35):
            y, x = row - offset[0], column - offset[1]
            expected = image[y, x] if 0 <= y < 30 and 0 <= x < 40 else PAD_VALUE
            assert (result[row, column] == expected).all()


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        ([{"Mosaik": {}}], ["augment[0]", "'Mosaic'"]),
        ([{"SSDCrops": {}}], ["augment[0]", "'SSDCrop'"]),
        ([{"Mosaic": {"centre": [0.3, 0.7]}}], ["augment[0].Mosaic.centre", "'center'"]),
        ([{"MixUp": {"p": "often"}}], ["augment[0].MixUp.p", "'often'"]),
        ([{"OneOf": {"transforms": ["Mosaic", "Blur"]}}], ["Mosaic cannot be used inside OneOf"]),
        ([{"Mosaic": {"visible": 1.5}}], ["visible", "a share"]),
    ],
)
def test_a_wrong_list_is_refused_with_the_place_and_the_fix(augment, words):
    with pytest.raises(RecipeError) as caught:
        check_augment(augment)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"Mosaic": {"center": [0.7, 0.3]}},
        {"Mosaic": {"scale": [0.5]}},
        {"ZoomOut": {"scale": [0.5, 4.0]}},
        {"SSDCrop": {"aspect": [0.0, 2.0]}},
        {"ScaleJitter": {"p": 1.5}},
        {"CopyPaste": {"blend": -1.0}},
        {"MixUp": {"alpha": 0}},
    ],
)
def test_a_value_out_of_bounds_is_an_error_before_the_first_image(entry):
    ((name, given),) = entry.items()
    for refuse in (check_augment, lambda augment: Augment(augment, SIZE)):
        with pytest.raises(RecipeError, match=f"{name}.{next(iter(given))}: expected"):
            refuse([entry])


def test_every_class_is_in_the_catalogue_under_its_own_name():
    own = {Mosaic, MixUp, CopyPaste, SSDCrop, ZoomOut, ScaleJitter, ObjectCrop}
    assert {part.load() for part in augmentations().values()} == own
    assert set(augmentations()) == {cls.__name__ for cls in own}
    assert len(catalog.parts("data/augment")) == len(own)


def test_pasting_many_small_objects_makes_no_whole_masks_of_them():
    """A hundred masks of 1024² would take 100 MB."""
    rng, size = np.random.default_rng(0), (1024, 1024)
    shapes = [Patch(*map(int, rng.integers(0, 980, 2)), np.ones((40, 40), np.uint8)) for _ in range(100)]
    masks = InstanceMasks(shapes, size)
    image = np.zeros((*size, 3), np.uint8)
    crowded = Sample(image, boxes=masks.boxes(), classes=np.zeros(100, int), instance_masks=masks)
    augment = Augment([{"CopyPaste": {"p": 1.0}}], size)
    tracemalloc.start()
    pasted = augment(crowded, rng, lambda rng: crowded)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(pasted.boxes) > 100 and peak < 50e6, peak
