import concurrent.futures
import inspect
import json
import os
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations

from visiontasks.data import albumentations_catalog, composed
from visiontasks.data.placing import place
from visiontasks.data.transforms import Augment, check_augment
from visiontasks.errors import RecipeError
from visiontasks.geometry import PAD_VALUE, Placement
from visiontasks.instance_masks import InstanceMasks
from visiontasks.sample import VOID, Sample

BASES = (albumentations.BasicTransform, albumentations.core.composition.BaseCompose)


def rng(seed=0):
    return np.random.default_rng(seed)


def noise(height=48, width=64, seed=0, **labels):
    return Sample(rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8), **labels)


def scene(height=96, width=128, count=4, seed=0):
    """Rectangles of a gray of their own each, on black; every label says where they are."""
    chance = rng(seed)
    image = np.zeros((height, width, 3), np.uint8)
    boxes = []
    for number in range(count):
        # a column of the image each, so that none hides another
        left = number * (width // count) + int(chance.integers(0, 5))
        top = int(chance.integers(0, height // 2))
        right, bottom = left + int(chance.integers(9, 20)), top + int(chance.integers(12, height // 2))
        image[top:bottom, left:right] = 60 * (number + 1)
        boxes.append((left, top, right, bottom))
    gray = image[..., 0]
    boxes = np.float32(boxes)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    keypoints = np.concatenate([centers, np.full((count, 1), 2)], axis=1)[:, None].astype(np.float32)
    return Sample(
        image,
        boxes=boxes,
        classes=np.arange(count),
        mask=(gray // 60).astype(np.int32),
        instance_masks=np.stack([gray == 60 * (n + 1) for n in range(count)]).astype(np.uint8),
        keypoints=keypoints,
    )


def assert_labels_agree_with_image(sample):
    """Every label of a `scene` read off its image."""
    gray = np.round(sample.image[..., 0] / 60).astype(int)
    # inside an area of one gray: at an edge resizing mixes two
    certain = cv2.erode(sample.image, np.ones((3, 3)))[..., 0] == cv2.dilate(sample.image, np.ones((3, 3)))[..., 0]
    certain &= sample.image[..., 0] != PAD_VALUE
    certain[[0, -1]] = certain[:, [0, -1]] = False  # an edge may run along the border
    assert set(np.unique(gray[certain])) - {0} <= set(sample.classes + 1)
    labeled = certain & (sample.mask != VOID)
    assert (sample.mask == gray)[labeled].mean() > 0.97
    for box, kind, mask, points in zip(
        sample.boxes, sample.classes, np.asarray(sample.instance_masks), sample.keypoints, strict=True
    ):
        of_object = gray == kind + 1
        assert (mask.astype(bool) == of_object)[certain].mean() > 0.97
        rows, columns = np.nonzero(mask)
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box, seen, atol=3.0)  # a pixel of the original may span almost three
        x, y, visible = points[0]
        if visible:
            height, width = mask.shape
            assert mask[min(int(y), height - 1), min(int(x), width - 1)] == 1


# what a recipe may contain


def test_the_catalogue_is_albumentations_own():
    concrete = {
        name
        for name, value in vars(albumentations).items()
        if inspect.isclass(value) and issubclass(value, BASES)
        if "transforms3d" not in value.__module__ and not name.startswith("Base")
    }
    left_out = {"Compose", "ReplayCompose", "DualTransform", "ImageOnlyTransform", "BasicTransform", "Normalize"}
    left_out |= {"Transform3D", "ToFloat", "FromFloat", "ToTensorV2", "Lambda"}
    assert set(albumentations_catalog.transforms()) == concrete - left_out


@pytest.mark.parametrize("name", albumentations_catalog.transforms())
def test_arguments_are_those_of_the_signature(name):
    signature = inspect.signature(getattr(albumentations, name).__init__).parameters.values()
    named = [p for p in signature if p.name != "self" and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    result = albumentations_catalog.transform(name).arguments
    assert [a.name for a in result] == [p.name for p in named]
    for argument, parameter in zip(result, named, strict=True):
        if parameter.default is not parameter.empty and isinstance(argument.default, (int, float, bool)):
            assert argument.default == parameter.default


def test_checking_imports_nothing_heavy():
    code = (
        "import sys; from visiontasks.data.transforms import check_augment; "
        "check_augment([{'Affine': {'rotate': [-10, 10]}}, {'OneOf': {'transforms': ['Blur', 'HueSaturationValue']}}]);"
        "print([m for m in ('albumentations', 'keras', 'tensorflow', 'grain') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (["HorisontalFlip"], ["augment[0]", "'HorizontalFlip'"]),
        ([{"HorizontalFlip": {"prob": 0.5}}], ["augment[0].HorizontalFlip.prob", "Choices: p"]),
        ([{"HorizontalFlip": {"p": "often"}}], ["augment[0].HorizontalFlip.p", "a number", "'often'"]),
        ([{"HorizontalFlip": 0.5}], ["augment[0].HorizontalFlip", "{p: 0.5}"]),
        (["Blur", {"OneOf": {"transforms": [{"Blurr": {}}]}}], ["augment[1].OneOf.transforms[0]", "'Blur'"]),
        ([{"OneOf": {"p": 1.0}}], ["augment[0].OneOf", "transforms"]),
        ([{"CenterCrop": {"height": 3}}], ["augment[0].CenterCrop", "width"]),
        ([{"Affine": {"mask_interpolation": 1}}], ["mask_interpolation", "nearest"]),
        (["Normalize"], ["Normalize", "backbone"]),
        ([{"Blur": {}, "Transpose": {}}], ["augment[0]", "Blur"]),
        ({"HorizontalFlip": {"p": 0.5}}, ["augment", "list"]),
        ([7], ["augment[0]", "7"]),
    ],
)
def test_a_wrong_list_is_refused_with_the_place_and_the_fix(augment, words):
    with pytest.raises(RecipeError) as caught:
        check_augment(augment)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_value_that_albumentations_refuses_is_a_recipe_error():
    recipe = [{"ImageCompression": {"quality_range": [101, 200]}}]
    check_augment(recipe)  # the right type; only albumentations knows the range
    with pytest.raises(RecipeError, match="ImageCompression"):
        Augment(recipe, (32, 32))  # before the first image


# what happens to images and labels


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([(96, 128), (128, 96), (64, 64), (150, 170)]))
@pytest.mark.parametrize(
    "augment",
    [
        [{"HorizontalFlip": {"p": 1.0}}],
        [{"VerticalFlip": {"p": 1.0}}],
        [{"Transpose": {"p": 1.0}}],
        [{"D4": {"p": 1.0}}],
        [{"RandomCrop": {"height": 60, "width": 70}}, {"RandomRotate90": {"p": 1.0}}],
        [{"RandomResizedCrop": {"size": [64, 80], "scale": [0.4, 1.0], "interpolation": 0}}],
        [{"Affine": {"translate_px": [-30, 30], "scale": [0.7, 1.3], "interpolation": 0, "p": 1.0}}],
        [{"OneOf": {"transforms": ["HorizontalFlip", "VerticalFlip", "Transpose"], "p": 1.0}}],
    ],
    ids=lambda augment: "+".join(next(iter(entry)) for entry in augment),
)
def test_labels_move_with_the_image(augment, seed, size):
    moved = Augment(augment, size)(scene(seed=seed % 7), rng(seed))
    assert moved.image.shape == (*size, 3)
    assert_labels_agree_with_image(moved)


@pytest.mark.parametrize("mode", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("size", [(96, 128), (64, 200), (200, 64), (40, 40)])
def test_placing_moves_every_label(mode, size):
    placed = place(scene(), Placement((96, 128), size, mode))
    assert placed.image.shape == (*size, 3)
    assert_labels_agree_with_image(placed)


def test_placing_maps_boxes_and_keypoints_by_the_placement():
    sample, placement = scene(), Placement((96, 128), (48, 192), "stretch")
    placed = place(sample, placement)
    np.testing.assert_allclose(placed.boxes, sample.boxes * np.float32([1.5, 0.5, 1.5, 0.5]), atol=1e-4)
    np.testing.assert_allclose(placed.keypoints[..., :2], sample.keypoints[..., :2] * np.float32([1.5, 0.5]), atol=1e-4)


def test_what_vanishes_is_dropped_with_all_its_fields():
    crop = [{"Crop": {"x_min": 0, "y_min": 0, "x_max": 64, "y_max": 96, "p": 1.0}}]
    whole = scene()  # four columns of 32 pixels: two are left
    moved = Augment(crop, (96, 64))(whole, rng())
    assert moved.classes.tolist() == [0, 1]
    assert len(moved.boxes) == len(moved.instance_masks) == len(moved.keypoints) == 2
    np.testing.assert_allclose(moved.boxes, whole.boxes[:2], atol=1e-3)
    nothing = Augment([{"Crop": {"x_min": 0, "y_min": 94, "x_max": 128, "y_max": 96, "p": 1.0}}], (96, 64))(
        whole, rng()
    )
    assert nothing.boxes.shape == (0, 4) and nothing.keypoints.shape == (0, 1, 3) and nothing.classes.shape == (0,)


def test_an_image_without_objects_may_change_its_shape():
    empty = noise(96, 128, boxes=np.zeros((0, 4), np.float32), instance_masks=np.zeros((0, 96, 128), np.uint8))
    moved = Augment([{"Transpose": {"p": 1.0}}], (128, 96))(empty, rng())
    assert moved.image.shape == (128, 96, 3) and np.asarray(moved.instance_masks).shape == (0, 128, 96)


PAIRED = ("nose", "left_eye", "right_eye", "Ear L", "Ear R")


@pytest.mark.parametrize(
    ("transforms", "mirrors"),
    [
        ([{"HorizontalFlip": {"p": 1.0}}], True),
        ([{"VerticalFlip": {"p": 1.0}}], True),
        ([{"HorizontalFlip": {"p": 1.0}}, {"VerticalFlip": {"p": 1.0}}], False),  # half a turn
        ([{"OneOf": {"transforms": [{"Transpose": {"p": 1.0}}], "p": 1.0}}], True),
        ([{"HorizontalFlip": {"p": 0.0}}, {"Affine": {"rotate": [40, 40], "p": 1.0}}], False),
    ],
)
def test_item_35_left_and_right_change_places_where_an_image_is_mirrored(transforms, mirrors):
    where = np.float32([[[30, 20, 2], [25, 10, 2], [35, 11, 1], [20, 14, 2], [41, 15, 2]]])
    sample = noise(keypoints=where, boxes=np.float32([[15, 5, 45, 30]]))
    plain = Augment(transforms, (64, 64))(sample, rng()).keypoints
    named = Augment(transforms, (64, 64), points=PAIRED)(sample, rng()).keypoints
    np.testing.assert_allclose(named, plain[:, [0, 2, 1, 4, 3]] if mirrors else plain)


def test_item_35_a_flip_without_pairs_is_an_error():
    flip = [{"OneOf": {"transforms": [{"HorizontalFlip": {"p": 1.0}}], "p": 1.0}}]
    for names, text in (
        (("nose", "left_eye"), "HorizontalFlip turns left .* expected 'right_eye' beside 'left_eye'"),
        (("0", "1"), r"expected names that show the pairs.*got \['0', '1'\]"),
    ):
        with pytest.raises(RecipeError, match=text):
            Augment(flip, (32, 32), points=names)
        Augment([{"Affine": {"p": 1.0}}], (32, 32), points=names)
    Augment(flip, (32, 32), points=("head", "tail"))


def test_a_keypoint_out_of_sight_loses_its_visibility_and_its_object_stays():
    whole = scene(count=1)
    points = np.float32([[[whole.boxes[0, 0] + 1, whole.boxes[0, 1] + 1, 2], [120, 90, 1], [0, 0, 0]]])
    crop = [{"Crop": {"x_min": 0, "y_min": 0, "x_max": 100, "y_max": 96, "p": 1.0}}]
    moved = Augment(crop, (96, 100))(whole.replace(keypoints=points), rng())
    np.testing.assert_allclose(moved.keypoints[0], [points[0, 0], [0, 0, 0], [0, 0, 0]], atol=1e-4)


def test_a_flip_mirrors_continuous_coordinates():
    sample = noise(20, 30, boxes=np.float32([[0, 0, 30, 20]]), keypoints=np.float32([[[0.5, 4, 2], [10, 20, 2]]]))
    moved = Augment([{"HorizontalFlip": {"p": 1.0}}], (20, 30))(sample, rng())
    np.testing.assert_allclose(moved.keypoints[0], [[29.5, 4, 2], [20, 20, 2]], atol=1e-4)
    np.testing.assert_allclose(moved.boxes, [[0, 0, 30, 20]], atol=1e-4)


def test_laid_bare_pixels_are_void_in_masks_and_no_part_of_objects():
    shift = {"Affine": {"translate_px": {"x": [40, 40], "y": [0, 0]}, "p": 1.0}}
    sample = scene()
    moved = Augment([shift], (96, 128))(sample, rng())
    assert (moved.mask[:, :39] == VOID).all() and not np.asarray(moved.instance_masks)[:, :, :39].any()
    assert set(np.unique(moved.instance_masks)) <= {0, 1}
    shift["Affine"]["fill_mask"] = 0
    assert (Augment([shift], (96, 128))(sample, rng()).mask[:, :39] == 0).all()


def test_class_numbers_above_255_survive():
    mask = np.full((48, 64), 300, np.int32)
    moved = Augment([{"HorizontalFlip": {"p": 1.0}}], (24, 32))(noise(mask=mask), rng())
    assert (moved.mask == 300).all()


NEEDS_MORE = {  # arguments without a default, or things that a Sample does not have
    name
    for name in albumentations_catalog.transforms()
    if any(
        a.name in ("reference_images", "metadata_key", "templates")
        for a in albumentations_catalog.transform(name).arguments
    )
    or issubclass(getattr(albumentations, name), BASES[1])
} | {"Mosaic", "OverlayElements", "TextImage", "MaskDropout"}
GIVEN = {
    "Crop": {"x_max": 30, "y_max": 30},
    "CenterCrop": {"height": 20, "width": 30},
    "RandomCrop": {"height": 20, "width": 30},
    "CropNonEmptyMaskIfExists": {"height": 20, "width": 30},
    "RandomSizedCrop": {"min_max_height": [20, 30], "size": [30, 30]},
    "RandomResizedCrop": {"size": [30, 30]},
    "RandomSizedBBoxSafeCrop": {"height": 20, "width": 30},
    "AtLeastOneBBoxRandomCrop": {"height": 40, "width": 40},
    "CropAndPad": {"px": 5},
    "PadIfNeeded": {"min_height": 80, "min_width": 80},
    "GridElasticDeform": {"num_grid_xy": [4, 4], "magnitude": 5},
    "Resize": {"height": 20, "width": 30},
    "LongestMaxSize": {"max_size": 40},
    "SmallestMaxSize": {"max_size": 40},
    "RandomCropNearBBox": None,
}


@pytest.mark.parametrize("name", [n for n in albumentations_catalog.transforms() if n not in NEEDS_MORE])
def test_every_transform_keeps_class_numbers_and_depends_on_the_generator_alone(name):
    arguments = GIVEN.get(name, {})
    if arguments is None:
        pytest.skip("needs a cropping box beside the Sample")
    sample = scene()
    kwargs = {**arguments, **({"p": 1.0} if name != "NoOp" else {})}
    augment = Augment([{name: kwargs}], (64, 80))
    first = augment(sample, rng(5))
    augment(sample, rng(6))  # what happened in between leaves no trace
    again = augment(sample, rng(5))
    assert first.image.shape == (64, 80, 3) and first.image.dtype == np.uint8
    assert set(np.unique(first.mask)) <= {*np.unique(sample.mask), VOID}
    for field in ("image", "mask", "boxes", "classes", "instance_masks", "keypoints"):
        np.testing.assert_array_equal(getattr(first, field), getattr(again, field))


AFFINE_GIVEN = GIVEN | {
    "Affine": {"rotate": [-40, 40], "scale": [0.6, 1.4], "translate_px": [-20, 20], "shear": [-10, 10]},
    "Pad": {"padding": [3, 5, 7, 9]},
    "LongestMaxSize": {"max_size": 200},
    "RandomScale": {"scale_limit": [-0.4, 0.6]},
    "Resize": {"height": 70, "width": 160},
    "SmallestMaxSize": {"max_size": 60},
}


def stars(seed, count=5, size=(96, 128)):
    """Objects with polygons of up to 8 points, on noise."""
    chance, (height, width) = rng(seed), size
    polygons = []
    for _ in range(count):
        angles = np.sort(chance.uniform(0, 2 * np.pi, chance.integers(3, 9)))
        points = chance.uniform(8, 30, (len(angles), 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        polygons.append((np.clip(points + chance.uniform(10, [width - 10, height - 10]), 0, [width, height]),))
    masks = InstanceMasks(polygons, size)
    masks = masks[(masks.boxes()[:, 2:] > masks.boxes()[:, :2]).all(axis=1)]
    return noise(height, width, seed, boxes=masks.boxes(), classes=np.arange(len(masks)), instance_masks=masks)


@pytest.mark.parametrize("name", sorted(composed.AFFINE - {"RandomCropNearBBox"}))
@pytest.mark.parametrize("form", ["polygons", "pixels"])
def test_instance_masks_move_by_the_affine_map_as_whole_images_of_them_move(name, form, monkeypatch):
    check_against_whole_images([(name, {**AFFINE_GIVEN.get(name, {}), "p": 1.0})], form, monkeypatch)


def affine(**given):
    return "Affine", {"p": 1.0, **given}


CHAINS = {
    "out and back": [affine(translate_px=[-40, -40], fill_mask=VOID), affine(translate_px=[40, 40], fill_mask=VOID)],
    "larger and smaller": [affine(scale=[1.8, 1.8]), affine(scale=[0.6, 0.6], rotate=[30, 30])],
    "turned crops": [
        ("Rotate", {"limit": [30, 30], "p": 1.0}),
        ("CenterCrop", {"height": 70, "width": 90}),
        ("Rotate", {"limit": [-25, -25], "p": 1.0}),
        ("CenterCrop", {"height": 60, "width": 60}),
    ],
    "by chance": [
        ("HorizontalFlip", {"p": 0.5}),
        ("Rotate", {"limit": [-45, 45], "p": 0.8}),
        ("RandomResizedCrop", {"size": [80, 100], "scale": [0.3, 1.0], "p": 0.9}),
        affine(scale=[0.6, 1.4], translate_px=[-20, 20]),
    ],
}


@pytest.mark.parametrize("form", ["polygons", "pixels"])
@pytest.mark.parametrize("chain", CHAINS)
def test_what_one_transform_of_several_cuts_off_does_not_come_back(chain, form, monkeypatch):
    entries = CHAINS[chain]
    check_against_whole_images(entries, form, monkeypatch, near=len(entries))
    if chain == "out and back":  # what lay in the first 40 columns is black
        sample = stars(0)
        moved = composed.Composed(entries)(sample.replace(mask=np.zeros((96, 128), np.int32)), rng())
        assert (moved.mask == VOID).any() and not np.asarray(moved.instance_masks)[:, moved.mask == VOID].any()


def check_against_whole_images(entries, form, monkeypatch, near=1):
    """Masks of a Sample differ from moved images of them by at most `near` pixels at their edges."""
    square = np.ones((2 * near + 1, 2 * near + 1), np.uint8)
    ours = composed.Composed(entries)

    def erode(mask):  # also at the image's border
        return cv2.erode(mask, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)

    def dilate(mask):
        return cv2.dilate(mask, square)

    monkeypatch.setattr(composed, "_is_affine", lambda *_: False)
    theirs = composed.Composed(entries)
    common = 0
    for seed in range(4):
        sample = stars(seed)
        whole = np.asarray(sample.instance_masks)
        moved = ours(sample if form == "polygons" else sample.replace(instance_masks=whole), rng(seed))
        least, result, most = (
            theirs(sample.replace(instance_masks=np.stack(masks)), rng(seed))
            for masks in ([*map(erode, whole)], whole, [*map(dilate, whole)])
        )
        np.testing.assert_array_equal(result.image, moved.image)
        least, result, most = (
            dict(zip(one.classes.tolist(), np.asarray(one.instance_masks), strict=True))
            for one in (least, result, most)
        )
        for number, mask in zip(moved.classes.tolist(), np.asarray(moved.instance_masks), strict=True):
            if number not in result:
                assert mask.sum() <= max(mask.shape)  # a line of pixels, which one way keeps and the other drops
                continue
            common += 1
            assert (mask <= dilate(most[number])).all()
            assert number not in least or (mask >= erode(least[number])).all()
    assert common > 3


@pytest.mark.parametrize("name", sorted(composed.RESIZES))
def test_keypoints_and_masks_are_resized_with_the_image(name):
    columns = np.tile(np.arange(128), (96, 1))
    image = np.repeat(2 * columns[..., None], 3, axis=2).astype(np.uint8)
    box, point = np.float32([[50, 40, 80, 60]]), np.float32([[[64, 48, 2]]])
    sample = Sample(image, mask=columns.astype(np.int32), boxes=box, keypoints=point)
    for seed in range(4):
        moved = composed.Composed([(name, {**AFFINE_GIVEN.get(name, {}), "p": 1.0})])(sample, rng(seed))
        if len(moved.keypoints) == 0 or not moved.keypoints[0, 0, 2]:
            continue
        x, y, _ = moved.keypoints[0, 0]
        row = moved.image[int(y), :, 0] / 2.0 + 0.5  # the column of the old image, from its edge
        assert abs(np.interp(x - 0.5, np.arange(len(row)), row) - 64) <= 0.51
        inner = slice(max(0, int(x) - 15), int(x) + 15)
        assert abs((moved.mask[int(y)] + 0.5 - row)[inner].mean()) <= 0.3


def test_threads_and_copies_give_what_one_thread_gives():
    recipe = [{"HorizontalFlip": {"p": 0.5}}, {"Affine": {"rotate": [-45, 45], "p": 0.7}}, {"GaussNoise": {"p": 0.5}}]
    augment, sample = Augment(recipe, (32, 40)), noise()
    expected = [augment(sample, rng(seed)).image for seed in range(40)]
    assert len({image.tobytes() for image in expected}) > 30
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        result = list(pool.map(lambda seed: augment(sample, rng(seed)).image, range(40)))
    copied = pickle.loads(pickle.dumps(augment))
    for seed in range(40):
        np.testing.assert_array_equal(expected[seed], result[seed])
        np.testing.assert_array_equal(expected[seed], copied(sample, rng(seed)).image)


def test_a_crop_without_a_size_cuts_to_the_canvas():
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    crop = {"RandomResizedCrop": {"scale": [0.3, 0.9]}}
    for augment in ([crop], [{"OneOf": {"transforms": [crop, crop], "p": 1.0}}]):
        free = Augment(augment, (96, 160))(Sample(image), np.random.default_rng(3)).image
        message = json.loads(json.dumps(augment).replace('"scale"', '"size": [96, 160], "scale"'))
        np.testing.assert_array_equal(free, Augment(message, (96, 160))(Sample(image), np.random.default_rng(3)).image)


def test_up_to_the_last_crop_runs_before_placing_and_the_rest_after():
    sample = noise(100, 100)
    recipe = [
        {"Blur": {"blur_limit": [3, 3], "p": 1.0}},
        {"OneOf": {"transforms": [{"CenterCrop": {"height": 50, "width": 50, "p": 1.0}}], "p": 1.0}},
        {"MedianBlur": {"blur_limit": [5, 5], "p": 1.0}},
    ]
    result = Augment(recipe, (24, 24))(sample, rng()).image
    cropped = cv2.blur(sample.image, (3, 3))[25:75, 25:75]
    placed = Placement((50, 50), (24, 24)).place_image(cropped)
    np.testing.assert_array_equal(result, cv2.medianBlur(placed, 5))


def test_an_image_that_a_transform_cannot_take_is_named():
    with pytest.raises(RecipeError, match=r"image 7 \(48×64 pixels\)"):
        Augment([{"RandomCrop": {"height": 500, "width": 500}}], (32, 32))(noise(id="image 7"), rng())
    with pytest.raises(RecipeError, match="3 channels"):
        Augment([{"ToGray": {"num_output_channels": 1, "p": 1.0}}], (32, 32))(noise(), rng())


def test_ignored_stays_in_step_with_the_boxes_and_areas_are_dropped():
    sample = scene().replace(ignored=np.array([True, False, True, False]), areas=np.arange(4))
    half = Augment([{"Crop": {"x_min": 64, "x_max": 128, "y_max": 96, "p": 1.0}}], (64, 80))(sample, rng())
    assert half.classes.tolist() == [2, 3] and half.ignored.tolist() == [True, False] and half.areas is None
    placed = Augment([], (64, 80))(sample, rng())
    assert placed.ignored.tolist() == sample.ignored.tolist() and placed.areas is None


def test_nothing_to_do_keeps_the_pixels():
    sample = noise(40, 50)
    np.testing.assert_array_equal(Augment([], (40, 50))(sample, rng()).image, sample.image)
