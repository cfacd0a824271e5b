"""One object fills the canvas: windows, the crop that augments, and a sample for each object."""

import numpy as np
import pytest

from visiontasks.data.augment.augmentation import Stage
from visiontasks.data.augment.object_crop import ObjectCrop
from visiontasks.data.derived import EachObject, Named
from visiontasks.data.pipeline import Loader
from visiontasks.data.placing import place, placement_of
from visiontasks.data.sources.source import Source
from visiontasks.data.transforms import Augment
from visiontasks.errors import DataError, RecipeError
from visiontasks.geometry import PAD_VALUE, PADDING, Window
from visiontasks.sample import VOID, Sample

SIZE = (128, 96)  # of the canvas
POINTS = ("nose", "left_hand", "right_hand", "tail")
COLORS = np.float32([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]])
DARK = 20


def dotted(box, points, size=(200, 300), radius=4.0, **more):
    """A dark image with a round dot at each keypoint, drawn by the distance of pixel centers, smooth at its edge."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    image = np.full((*size, 3), DARK, np.float32)
    for (x, y), color in zip(points, COLORS, strict=False):
        part = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)[..., None]
        image = image * (1 - part) + color * part
    keypoints = np.concatenate([np.float32(points), np.full((len(points), 1), 2)], axis=1)[None].astype(np.float32)
    boxes, classes = np.float32([box]), np.int32([0])
    return Sample(np.rint(image).astype(np.uint8), boxes=boxes, classes=classes, keypoints=keypoints, **more)


def dots(image):
    """float (4, 2): the center of each color's dot; gray has none of the colors."""
    red, green, blue = np.moveaxis(np.float32(image), -1, 0)
    shares = (
        np.minimum(red - green, red - blue),
        np.minimum(green - red, green - blue),
        np.minimum(blue - red, blue - green),
        np.minimum(red, green) - blue,
    )
    places = np.mgrid[: image.shape[0], : image.shape[1]][::-1] + 0.5
    weights = [np.clip(share - 5, 0, None) for share in shares]
    return np.array([(places * one).sum(axis=(1, 2)) / max(one.sum(), 1e-6) for one in weights])


def crop(sample, seed=0, size=SIZE, **options):
    rng = np.random.default_rng(seed)
    return ObjectCrop(**options)(sample, rng, Stage(size, "object", None))


INSIDE = [(100, 60), (130, 120), (80, 110), (110, 150)]
BOX = [70, 50, 140, 160]


def test_a_window_has_the_canvas_s_ratio_and_room_around_the_box():
    window = Window.around(BOX, (200, 300), SIZE)
    left, top, right, bottom = window.window
    assert (right - left) / (bottom - top) == pytest.approx(96 / 128)
    assert (left + right, top + bottom) == pytest.approx((210, 210))
    assert bottom - top == pytest.approx(PADDING * 110) and right - left > 70
    wide = Window.around([0, 10, 100, 20], (200, 300), SIZE).window
    assert wide[2] - wide[0] == pytest.approx(PADDING * 100)


@pytest.mark.parametrize("box", [BOX, [0, 0, 300, 200], [290.5, 3.25, 300, 9], [5, 5, 5.4, 5.3], [-20, -5, 30, 500]])
def test_place_and_restore_points_are_inverse(box):
    window = Window.around(box, (200, 300), SIZE)
    points = np.random.default_rng(0).uniform(-50, 350, (5, 4, 2)).astype(np.float32)
    placed = points @ window.matrix[:, :2].T + window.matrix[:, 2]
    np.testing.assert_allclose(window.restore_points(placed), points, atol=1e-3)
    boxes = np.sort(points[:, :2], axis=1).reshape(-1, 4)
    placed = np.sort(placed[:, :2], axis=1).reshape(-1, 4)
    np.testing.assert_allclose(window.restore_boxes(placed, clip=False), boxes, atol=1e-3)
    assert not window.is_identity


def test_a_window_of_the_whole_image_in_its_size_changes_nothing():
    window = Window((128, 96), (128, 96), (0, 0, 96, 128))
    image = np.random.default_rng(0).integers(0, 256, (128, 96, 3), np.uint8)
    assert window.is_identity
    np.testing.assert_array_equal(window.place_image(image), image)
    mask = np.random.default_rng(0).integers(0, 9, (128, 96)).astype(np.int32)
    np.testing.assert_array_equal(window.place_mask(mask), mask)


@pytest.mark.parametrize(
    ("box", "points", "radius"),
    [
        (BOX, INSIDE, 4.0),
        ([0, 0, 300, 200], INSIDE, 8.0),  # of which the canvas shows a quarter of the pixels
        ([95, 55, 105, 65], [(100, 60), (96, 56), (104, 64), (96, 64)], 1.5),  # enlarged
        ([2, 3, 40, 60], [(6, 8), (35, 12), (8, 55), (30, 40)], 4.0),  # at the corner
    ],
    ids=["usual", "huge", "small", "corner"],
)
def test_the_dots_lie_where_the_keypoints_say(box, points, radius):
    sample = dotted(box, points, radius=radius)
    placed = place(sample, placement_of(sample, SIZE, "object"))
    assert placed.image.shape == (*SIZE, 3)
    drawn = 0.05 * max(
        Window.around(box, (200, 300), SIZE).scale[0], 5
    )  # a dot of the image is exact to a twentieth of its pixels
    np.testing.assert_allclose(dots(placed.image), placed.keypoints[0, :, :2], atol=drawn)
    same = crop(sample, p=0.0)
    np.testing.assert_array_equal(same.image, placed.image)
    np.testing.assert_allclose(same.keypoints, placed.keypoints, atol=1e-3)
    np.testing.assert_allclose(same.boxes, placed.boxes, atol=1e-3)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("options", [{}, {"rotate": 60.0, "rotate_p": 1.0}, {"scale": 0.4, "shift": 0.1}])
def test_keypoints_move_with_the_image(seed, options):
    sample = dotted(BOX, INSIDE)
    moved = crop(sample, seed, **options)
    points = moved.keypoints[0] if len(moved.keypoints) else np.zeros((4, 3))
    clear = (
        (points[:, 2] > 0) & (points[:, :2] > 6).all(axis=1) & (points[:, :2] < np.array(SIZE[::-1]) - 6).all(axis=1)
    )
    np.testing.assert_allclose(dots(moved.image)[clear], points[clear, :2], atol=0.3)
    gone = points[:, 2] == 0
    assert not points[gone].any() and (clear.any() or options.get("shift"))


def test_angles_and_scales_are_as_large_as_it_says():
    sample, angles, scales = dotted(BOX, INSIDE), [], []
    for seed in range(300):
        points = crop(sample, seed, scale=0.1, rotate=20.0, rotate_p=0.5).keypoints[0]
        assert (points[:, 2] > 0).all()
        before, after = (np.complex128(complex(*(p[1, :2] - p[0, :2]))) for p in (sample.keypoints[0], points))
        angles.append(np.degrees(np.angle(after / before)))
        scales.append(abs(after / before) * PADDING * 110 / 128)
    angles, scales = np.array(angles), np.array(scales)
    assert 0.4 < (np.abs(angles) < 1e-3).mean() < 0.6 and np.abs(angles).max() < 40.01
    assert 12 < angles[np.abs(angles) > 1e-3].std() < 22 and abs(angles.mean()) < 3
    assert 0.08 < scales.std() < 0.11 and scales.min() > 0.799 and scales.max() < 1.201


def test_what_shows_no_image_is_gray_and_void():
    mask = np.full((200, 300), 3, np.int32)
    sample = dotted([0, 0, 20, 20], [(5, 5), (10, 5), (5, 10), (12, 12)], mask=mask)
    for moved in (place(sample, placement_of(sample, SIZE, "object")), crop(sample, p=0.0)):
        window = Window.around([0, 0, 20, 20], (200, 300), SIZE)
        top, left = (int(np.floor(offset)) for offset in window.offset)
        assert top > 5 and left > 5
        assert (moved.image[: top - 1] == PAD_VALUE).all() and (moved.image[:, : left - 1] == PAD_VALUE).all()
        assert (moved.image[top + 9 :, left + 9 :] != PAD_VALUE).any()
        assert (moved.mask[: top - 1] == VOID).all() and (moved.mask[top + 2 :, left + 2 :] == 3).all()


@pytest.mark.parametrize("box", [[10, 10, 10.6, 10.7], [0, 0, 4000, 3000], [3999, 2999, 4000, 3000]])
def test_tiny_and_huge_objects(box):
    image = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
    center = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 2]
    sample = Sample(image, boxes=np.float32([box]), classes=np.int32([0]), keypoints=np.float32([[center]]))
    for seed in range(3):
        moved = crop(sample, seed)
        assert moved.image.shape == (*SIZE, 3) and len(moved.boxes) == 1
        np.testing.assert_allclose(moved.keypoints[0, 0], [SIZE[1] / 2, SIZE[0] / 2, 2], atol=0.05)


def test_a_huge_image_is_averaged_and_not_sampled():
    stripes = np.zeros((2000, 2000, 3), np.uint8)
    stripes[:, ::2] = 200
    sample = Sample(stripes, boxes=np.float32([[0, 0, 2000, 2000]]), classes=np.int32([0]))
    inner = crop(sample, p=0.0, size=(100, 100)).image[20:80, 20:80]
    assert np.abs(np.int32(inner) - 100).max() <= 6


def test_a_keypoint_beside_the_canvas_is_not_labeled_and_areas_go():
    sample = dotted([100, 100, 110, 110], [(105, 105), (250, 20), (104, 102), (107, 103)], areas=np.float32([50]))
    moved = crop(sample, p=0.0)
    assert moved.keypoints[0, :, 2].tolist() == [2, 0, 2, 2] and moved.areas is None
    assert not moved.keypoints[0, 1].any() and moved.original_size == (200, 300)


def test_a_flip_twice_is_the_identity_and_once_swaps_left_and_right():
    sample = dotted(BOX, INSIDE)
    run = lambda augment: Augment(augment, SIZE, "object", POINTS)(sample, np.random.default_rng(0))  # noqa: E731
    flip = {"HorizontalFlip": {"p": 1.0}}
    plain, once, twice = run([]), run([flip]), run([flip, flip])
    np.testing.assert_array_equal(twice.image, plain.image)
    np.testing.assert_allclose(twice.keypoints, plain.keypoints, atol=1e-3)
    np.testing.assert_allclose(twice.boxes, plain.boxes, atol=1e-3)
    mirrored = plain.keypoints[:, [0, 2, 1, 3]] * np.float32([-1, 1, 1]) + np.float32([SIZE[1], 0, 0])
    np.testing.assert_allclose(once.keypoints, mirrored, atol=1e-3)
    np.testing.assert_allclose(dots(once.image)[[0, 2, 1, 3]], once.keypoints[0, :, :2], atol=0.25)


def test_object_crop_is_the_first_transform_of_its_resize_mode():
    for augment, resize in (([{"HorizontalFlip": {}}, "ObjectCrop"], "object"), (["ObjectCrop"], "letterbox")):
        with pytest.raises(RecipeError, match="expected ObjectCrop once, as the first transform, with resize: object"):
            Augment(augment, SIZE, resize, POINTS)


class People(Source):
    """Two images: of three objects one has no keypoint and one is ignored; and an image of one object."""

    fields = frozenset({"boxes", "classes", "keypoints"})
    names = {"classes": ("cat", "dog"), "keypoints": POINTS}

    def __len__(self):
        return 2

    def __getitem__(self, index):
        sample = dotted(BOX, INSIDE)
        if index:
            return sample
        points = np.concatenate([sample.keypoints] * 4)
        points[1] = 0
        boxes = np.float32([BOX, [1, 2, 3, 4], [5, 6, 90, 80], BOX])
        ignored = np.array([False, False, False, True])
        return sample.replace(
            boxes=boxes,
            classes=np.int32([0, 1, 1, 0]),
            keypoints=points,
            ignored=ignored,
            areas=np.float32([1, 2, 3, 4]),
        )

    def describe(self, index):
        return f"image {index}"


@pytest.mark.parametrize("label_set", ["", "pets"])
def test_each_object_is_a_sample(label_set):
    source = Named(People(), label_set) if label_set else People()
    each = EachObject(source, label_set)
    assert [each.describe(n) for n in range(len(each))] == ["image 0", "image 0", "image 1"]
    assert each.names == source.names and each.fields == source.fields and each.alike(0) == range(3)
    samples = [each[number].of(label_set) for number in range(3)]
    assert [sample.boxes.tolist() for sample in samples] == [[BOX], [[5, 6, 90, 80]], [BOX]]
    assert [sample.classes.tolist() for sample in samples] == [[0], [1], [0]]
    assert [sample.areas if sample.areas is None else sample.areas.tolist() for sample in samples] == [[1], [3], None]
    assert all(sample.keypoints.shape == (1, 4, 3) for sample in samples)
    assert each.read(1, ("classes",)).of(label_set).boxes.tolist() == [[5, 6, 90, 80]]


def test_without_a_labeled_keypoint_there_is_nothing():
    source = People()
    source.posed = lambda index, label_set="": np.zeros(0, int)
    with pytest.raises(DataError, match="objects with keypoints that are labeled, got none"):
        EachObject(source)


@pytest.mark.parametrize("training", [False, True])
def test_a_loader_gives_each_object_in_the_middle_of_its_canvas(training):
    options = {"augment": [{"ObjectCrop": {"rotate": 90.0}}]} if training else {}
    fields = ("boxes", "classes", "keypoints")
    loader = Loader(
        People(), fields=fields, size=SIZE, batch=3, training=training, workers=0, resize="object", **options
    )
    batch = next(iter(loader))
    assert batch["image"].shape == (3, *SIZE, 3)
    centers = (batch["boxes"][:, 0, :2] + batch["boxes"][:, 0, 2:]) / 2
    np.testing.assert_allclose(centers, np.full((3, 2), SIZE[::-1]) / 2, atol=12 if training else 0.01)
    assert (batch["classes"][:, 1:] == -1).all() and (batch["keypoints"][:, 0, :, 2] > 0).any(axis=1).all()
