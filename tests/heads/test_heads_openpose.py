"""OpenPose: the published network's size, losses at the truth and under masks, and people back from the truth."""

import fakes
import keras
import numpy as np
import people
import pytest
from keras import ops

from visiontasks import api
from visiontasks.geometry import Placement
from visiontasks.heads.openpose import OpenPose
from visiontasks.model import VisionModel
from visiontasks.registry.catalog import tasks_of
from visiontasks.skeleton import COCO_PERSON, Skeleton

SIZE = (96, 128)
FIELD = {"names": ["head", "hip", "foot"], "limbs": [[0, 1], [1, 2]]}
BODY = Skeleton(18, people.LIMBS)  # OpenPose's, as tests/people.py draws it


def array(tensor):
    return ops.convert_to_numpy(tensor)


def made(tap="C3", size=SIZE, levels=(1, 2, 3), **given):
    keras.utils.set_random_seed(0)
    arguments = {"filters": 8, "stages": 2, "skeleton": FIELD, **given}
    return VisionModel(fakes.backbone(size, levels, width=8), OpenPose(1, tap=tap, **arguments))


def targets(points, ignored=(), known=True):
    """A batch of one image with these people (N, K, 3) and ignored boxes."""
    points = np.float32(points)
    boxes = [[*person[:, :2].min(axis=0) - 4, *person[:, :2].max(axis=0) + 4] for person in points]
    count, more = len(points), len(ignored)
    points = np.concatenate([points, np.zeros((more, *points.shape[1:]), np.float32)])
    return {
        "boxes": np.float32([*boxes, *ignored]).reshape(1, -1, 4),
        "classes": np.zeros((1, count + more), np.int32),
        "ignored": np.array([[False] * count + [True] * more]),
        "known": np.full((1, 1), known),
        "keypoints": points[None],
    }


ONE = [[[20, 20, 2], [24, 44, 2], [20, 70, 1]]]
OTHER = [[100, 20, 2], [96, 50, 2], [100, 76, 2]]


def maps_of(head, batch, size=(12, 16)):
    truth, learned, labeled = head.truth(batch, size)
    return {name: array(value) for name, value in truth.items()}, array(learned), array(labeled)


def losses(head, batch, maps):
    outputs = {name: [value] * head.stages for name, value in maps.items()}
    return {name: float(term.mean) for name, term in head.compute_losses(batch, outputs).items()}


def test_the_published_network_for_coco_has_its_number_of_weights():
    def conv(kernel, inputs, filters):
        return kernel**2 * inputs * filters + filters

    # VGG-19's conv1_1 to conv4_2
    vgg = conv(3, 3, 64) + conv(3, 64, 64) + conv(3, 64, 128) + conv(3, 128, 128)
    vgg += conv(3, 128, 256) + 3 * conv(3, 256, 256) + conv(3, 256, 512) + conv(3, 512, 512)
    features = conv(3, 512, 256) + conv(3, 256, 128)  # conv4_3_CPM, conv4_4_CPM
    first, later = 0, 0
    for maps in (38, 19):  # 19 limbs' x and y; 18 keypoints and the background
        first += 3 * conv(3, 128, 128) + conv(1, 128, 512) + conv(1, 512, maps)
        later += conv(7, 38 + 19 + 128, 128) + 4 * conv(7, 128, 128) + conv(1, 128, 128) + conv(1, 128, maps)
    model = VisionModel(api.backbone("vgg19", input_shape=(64, 64, 3)), OpenPose(1, tap="conv4_2", neck=True))
    assert model.count_params() == vgg + features + first + 5 * later == 52_311_446
    (head,) = model.heads.values()
    assert head.stride == 8
    names = {layer.name for layer in head._flatten_layers()}
    assert {"conv5_1_CPM_L1", "conv5_5_CPM_L2", "Mconv1_stage2_L1", "Mconv7_stage6_L2"} <= names


def test_a_tap_without_a_stride_needs_images_of_one_size():
    with pytest.raises(ValueError, match="conv4_2 is no level.*input_shape"):
        VisionModel(api.backbone("vgg19"), OpenPose(1, tap="conv4_2"))


def test_a_skeleton_without_limbs_is_an_error_that_says_what_to_give():
    with pytest.raises(ValueError, match=r"skeleton: expected limbs.*limbs: \[\["):
        OpenPose(1, skeleton=Skeleton(5))


def test_by_default_it_taps_the_level_whose_stride_is_nearest_to_8():
    for levels, stride in (((1, 2, 3, 4), 8), ((1, 2), 4), ((4, 5), 16)):
        (head,) = made(None, levels=levels).heads.values()
        assert head.stride == stride


def test_losses_are_0_at_the_truth_and_about_1_where_nothing_is_found():
    (head,) = made().heads.values()
    batch = targets([*ONE, OTHER])
    maps, learned, labeled = maps_of(head, batch)
    assert learned.all() and labeled.all()
    assert losses(head, batch, maps) == {"heat": 0, "fields": 0}
    empty = {name: np.zeros_like(value) for name, value in maps.items()}
    empty["heat"][..., -1] = 1
    found = losses(head, batch, empty)
    assert 1 < found["heat"] / 2 < 2  # two people; the background is wrong too
    squares = (maps["fields"] ** 2).sum() / (3 * np.pi * (7 / 8) ** 2)
    np.testing.assert_allclose(found["fields"], squares, rtol=1e-5)


def test_heat_is_drawn_around_the_points_and_the_background_is_the_rest():
    (head,) = made().heads.values()
    maps, _, _ = maps_of(head, targets(ONE))
    x, y = (np.arange(16) + 0.5) * 8, (np.arange(12)[:, None] + 0.5) * 8
    expected = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 7**2)) for px, py, _ in ONE[0]]
    np.testing.assert_allclose(maps["heat"][0, ..., :3], np.stack(expected, axis=-1), atol=1e-5)
    np.testing.assert_allclose(maps["heat"][0, ..., 3], 1 - np.max(expected, axis=0), atol=1e-5)


def test_cells_of_ignored_regions_and_of_people_without_keypoints_learn_nothing():
    (head,) = made().heads.values()
    bare = [[100, 20, 0], [96, 50, 0], [100, 76, 0]]
    batch = targets([*ONE, bare], ignored=[[48, 0, 72, 24]])
    batch["boxes"][0, 1] = 88, 8, 128, 88
    maps, learned, labeled = maps_of(head, batch)
    assert labeled.all()
    expected = np.ones((12, 16), bool)
    expected[1:11, 11:] = expected[:3, 6:9] = False
    np.testing.assert_array_equal(learned[0], expected)
    noise = {name: value + 5 * ~learned[..., None].astype(bool) for name, value in maps.items()}
    assert losses(head, batch, noise) == {"heat": 0, "fields": 0}
    assert losses(head, batch, {name: value + 5 * learned[..., None] for name, value in maps.items()})["heat"] > 10


def test_where_not_all_people_are_known_only_their_boxes_learn():
    (head,) = made().heads.values()
    _, learned, labeled = maps_of(head, targets(ONE, known=False))
    expected = np.zeros((12, 16), bool)
    expected[2:9, 2:4] = True  # the box is 16..28 by 16..74
    np.testing.assert_array_equal(learned[0], expected)
    assert labeled.all()
    nothing = targets(np.zeros((1, 3, 3)), known=False)
    maps, learned, labeled = maps_of(head, nothing)
    assert not learned.any() and not labeled.any()
    terms = head.compute_losses(nothing, {name: [value + 1] * 2 for name, value in maps.items()})
    assert all(float(value) == 0 for term in terms.values() for value in term)


def test_objects_of_other_classes_are_background():
    head = OpenPose(2, skeleton=FIELD)
    head.stride = 8
    batch = targets([*ONE, OTHER]) | {"classes": np.int32([[0, 1]]), "known": np.ones((1, 2), bool)}
    maps, learned, _ = maps_of(head, batch)
    alone, _, _ = maps_of(head, targets(ONE) | {"known": np.ones((1, 2), bool)})
    assert learned.all()
    np.testing.assert_array_equal(maps["heat"], alone["heat"])


def test_the_neck_is_the_mean_of_both_shoulders_where_both_are_labeled():
    (head,) = made(neck=True, skeleton=COCO_PERSON).heads.values()
    points = np.zeros((2, 17, 3), np.float32)
    points[:, 5], points[:, 6] = (52, 40, 2), (68, 48, 1)
    points[1, :, 0] += 50
    points[1, 6, 2] = 0
    maps, _, _ = maps_of(head, targets(points))
    assert maps["heat"].shape[-1] == 19 and maps["fields"].shape[-1] == 38
    x, y = (np.arange(16) + 0.5) * 8, (np.arange(12)[:, None] + 0.5) * 8
    expected = np.exp(-((x - 60) ** 2 + (y - 44) ** 2) / (2 * 7**2))
    np.testing.assert_allclose(maps["heat"][0, ..., 17], expected, atol=1e-5)
    # others have one already, or no shoulders
    assert [made(neck=True, skeleton=one).heads["openpose"].points for one in (COCO_PERSON.with_neck(), FIELD)] == [
        18,
        3,
    ]


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("neck", [False, True])
def test_the_truth_comes_back_as_people_through_head_and_task(stride, neck):
    size = (384, 480)
    skeleton = COCO_PERSON if neck else BODY
    model = made("C2" if stride == 4 else "C3", size, skeleton=skeleton, neck=neck)
    (head,), (task,) = model.heads.values(), tasks_of(model).values()
    truth = people.isolated(np.random.default_rng(1), size, 2, 3)
    truth[:, [1, 2, 5, 8, 11], 2] = 2  # the trunk is whole: else a person is cut in two
    if neck:  # OpenPose's points in COCO's order
        truth = truth[:, [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]]
    maps, _, _ = maps_of(head, targets(truth), (size[0] // stride, size[1] // stride))
    outputs = {name: [np.zeros_like(value), value] for name, value in maps.items()}
    predictions = {name: array(value)[0] for name, value in head.decode(outputs).items()}
    assert predictions["peaks"].shape == (len(skeleton) + neck, 20, 3)
    found = task.restore(predictions, Placement((192, 240), size))  # an image of half the size
    assert found["keypoints"].shape == (6, len(skeleton), 3)
    assert (found["scores"] > 0.5).all() and (found["scores"] <= 1).all() and not found["classes"].any()
    near = np.linalg.norm(found["keypoints"][None, ..., :2] * 2 - truth[:, None, :, :2], axis=-1)
    has = found["keypoints"][None, ..., 2] > 0
    hits = ((near < 0.5) & has & (truth[:, None, :, 2] > 0)).sum(axis=-1)
    joined = np.zeros(truth.shape[:2], bool)  # points at the end of a limb that is labeled whole
    points = truth
    if neck:
        points = np.concatenate([truth, truth[:, 5:6]], axis=1)
    for one, other in head.limbs:
        both = (points[:, one, 2] > 0) & (points[:, other, 2] > 0)
        for end in (one, other):
            if end < len(skeleton):
                joined[:, end] |= both
    assert (hits.max(axis=1) >= joined.sum(axis=1) - 1).all() and hits.max(axis=1).sum() >= 0.97 * joined.sum()
    for person, points in zip(found["boxes"], found["keypoints"], strict=True):
        seen = points[points[:, 2] > 0, :2]
        np.testing.assert_allclose(person, [*seen.min(axis=0) - 0.25, *seen.max(axis=0) + 0.25], atol=1e-4)


def test_an_image_without_people_has_none():
    model = made()
    (head,), (task,) = model.heads.values(), tasks_of(model).values()
    maps, _, _ = maps_of(head, targets(np.zeros((1, 3, 3))) | {"classes": np.int32([[-1]])})
    predictions = {name: array(value)[0] for name, value in head.decode({k: [v] for k, v in maps.items()}).items()}
    found = task.restore(predictions, Placement(SIZE, SIZE))
    (maps,) = found.pop("maps")
    assert not maps.heat.any() and not maps.field.any()
    assert {name: value.shape for name, value in found.items()} == {
        "boxes": (0, 4),
        "scores": (0,),
        "classes": (0,),
        "keypoints": (0, 3, 3),
    }


def training_batch():
    rng = np.random.default_rng(0)
    batch = {key: np.concatenate([value, value]) for key, value in targets([*ONE, OTHER]).items()}
    batch["keypoints"][1, 1, :, 0] -= 40
    batch["boxes"][1, 1, [0, 2]] -= 40
    batch["image"] = rng.integers(0, 60, (2, *SIZE, 3), np.uint8)
    for image, points in zip(batch["image"], batch["keypoints"], strict=True):
        for number, (x, y) in ((k, point[:2].astype(int)) for person in points for k, point in enumerate(person)):
            image[y - 4 : y + 4, x - 4 : x + 4, number] = 250
    return batch


def test_it_learns_two_images_and_every_layer_of_every_stage_does(tmp_path):
    model, batch = made(stages=2), training_batch()
    before = [array(weight) for weight in model.heads["openpose"].trainable_weights]
    model.compile(keras.optimizers.Adam(3e-3))
    loss = model.fit(batch, batch_size=2, epochs=30, verbose=0).history["loss"]
    assert loss[-1] < 0.5 * loss[0], loss
    for weight, value in zip(model.heads["openpose"].trainable_weights, before, strict=True):
        assert np.abs(array(weight) - value).max() > 1e-4, weight.path
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    expected, found = (one.predict(batch["image"], verbose=0) for one in (model, again))
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_maps_are_float32_under_every_policy(policy):
    keras.config.set_dtype_policy(policy)
    outputs = made()(np.zeros((1, *SIZE, 3), np.uint8))
    assert {keras.backend.standardize_dtype(x.dtype) for x in keras.tree.flatten(outputs)} == {"float32"}
