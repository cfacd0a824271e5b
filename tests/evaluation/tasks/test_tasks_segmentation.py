"""The segmentation task: back to original pixels, records, drawings; on generated and real images."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from visiontasks.drawing.colors import color
from visiontasks.evaluation.tasks.segmentation import Segmentation
from visiontasks.geometry import Placement
from visiontasks.sample import VOID, Sample

NUCLEI = Path(__file__).resolve().parents[3] / "../shared/data/nuclei"


def probabilities(shape, classes, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), shape).astype(np.float32)


def bilinear(values, size):
    """The textbook's formula in float64: pixel centres at one half, the border repeated."""
    for axis in (0, 1):
        positions = (np.arange(size[axis]) + 0.5) * values.shape[axis] / size[axis] - 0.5
        positions = positions.clip(0, values.shape[axis] - 1)
        low = np.floor(positions).astype(int)
        high = np.minimum(low + 1, values.shape[axis] - 1)
        share = (positions - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
@pytest.mark.parametrize("original", [(40, 60), (32, 32), (5, 90), (1, 1), (100, 7)])
@pytest.mark.parametrize("classes", [1, 2, 21, 300])
def test_restored_is_the_likeliest_class_of_the_resized_map(mode, original, classes):
    placement = Placement(original, (32, 32), mode)
    values = probabilities((32, 32), classes)
    restored = Segmentation([str(i) for i in range(classes)]).restore({"probabilities": values}, placement)
    (top, left), (height, width) = placement.offset, placement.resized
    whole = bilinear(values[top : top + height, left : left + width].astype(np.float64), original)
    assert restored["mask"].dtype == np.int32 and restored["mask"].shape == original
    assert restored["score"].dtype == np.float32
    best = whole.max(axis=-1)
    chosen = np.take_along_axis(whole, restored["mask"][..., None], axis=-1)[..., 0]
    assert np.abs(chosen - best).max() < 1e-5  # two classes may be equal but for rounding
    assert np.abs(restored["score"] - best).max() < 1e-5


def test_of_equal_probabilities_the_first_class_wins():
    restored = Segmentation("abc").restore({"probabilities": np.full((4, 4, 3), 1 / 3)}, Placement((4, 4), (4, 4)))
    assert (restored["mask"] == 0).all()


@pytest.mark.parametrize("mode", ["stretch", "letterbox"])
def test_a_perfect_prediction_comes_back_to_the_pixel(mode):
    """An object of the original, seen at twice the size by the network, returns to where it was."""
    mask = np.zeros((48, 64), np.int32)
    mask[10:30, 20:50], mask[30:40, 5:30] = 1, 2
    placement = Placement(mask.shape, (96, 128) if mode == "stretch" else (200, 128), mode)
    canvas = placement.place_mask(mask)
    canvas[canvas == VOID] = 1  # whatever the network says on padding is cut away
    task = Segmentation(["ground", "a", "b"])
    restored = task.restore({"probabilities": np.eye(3, dtype=np.float32)[canvas]}, placement)
    metric = task.metric()
    metric.update(Sample(image=np.zeros((48, 64, 3), np.uint8), mask=mask), restored)
    assert metric.result()[task.main_metric] == 1


@pytest.mark.parametrize(("classes", "bits"), [(2, "uint8"), (255, "uint8"), (256, "uint16"), (300, "uint16")])
def test_the_mask_file_has_the_class_numbers_without_loss(classes, bits):
    task = Segmentation([f"kind {i}" for i in range(classes)])
    mask = np.random.default_rng(0).integers(0, classes, (50, 40), np.int32)
    ((name, content),) = task.attachments({"mask": mask}).items()
    written = np.asarray(Image.open(io.BytesIO(content)))
    assert name == "mask.png" and written.dtype == bits and (written == mask).all()
    shares = json.loads(json.dumps(task.to_json({"mask": mask})))["classes"]
    numbers, counts = np.unique(mask, return_counts=True)
    assert shares == pytest.approx({f"kind {i}": n / 2000 for i, n in zip(numbers, counts, strict=True)})
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_json_lists_only_the_classes_that_a_pixel_has():
    mask = np.zeros((10, 10), np.int32)
    mask[:3] = 2
    assert Segmentation("abc").to_json({"mask": mask}) == {"classes": {"a": 0.7, "c": 0.3}}


def test_drawings_tint_and_list_the_classes():
    image, mask = np.full((256, 300, 3), 77, np.uint8), np.zeros((256, 300), np.int32)
    mask[20:80, 30:90], mask[100:] = 2, VOID
    task = Segmentation(["Background", "a", "b", "c"])
    sample = Sample(image=image, mask=mask)
    drawn = task.draw_truth(image, sample)
    legend = drawn[256:]
    assert [(legend == color(i)).all(axis=-1).any() for i in range(4)] == [False, False, True, False]
    assert (drawn[:20, :, :] == 77).all() and (drawn[20:80, 30:90] != 77).any(axis=-1).all()
    unlabeled = task.draw_truth(image, Sample(image=image))
    assert (unlabeled[:256] == 77).all() and len(unlabeled) > 256
    assert (image == 77).all()  # a drawing is a copy
    predicted = np.where(mask == VOID, 0, mask)
    assert (task.draw_prediction(image, {"mask": predicted})[:95] == drawn[:95]).all()


@pytest.mark.parametrize("name", ["ground", "void", "unlabeled"])
def test_only_the_background_is_untinted(name):
    """Class 0 of many data sets is a class as any other; the background may have any number."""
    image, mask = np.full((256, 300, 3), 77, np.uint8), np.zeros((256, 300), np.int32)
    mask[:, 150:] = 1
    drawn = Segmentation([name, "background"]).draw_truth(image, Sample(image=image, mask=mask))
    assert (drawn[:256, :150] != 77).any(axis=-1).all() and (drawn[:256, 150:] == 77).all()
    assert [(drawn[256:] == color(i)).all(axis=-1).any() for i in range(2)] == [True, False]
    inside = np.argwhere((drawn[256:] == color(0)).all(axis=-1))
    assert len(inside) > 50  # a filled swatch


def test_three_hundred_classes_and_a_big_image_are_drawn():
    mask = np.arange(3000 * 4500, dtype=np.int32).reshape(3000, 4500) // 45000
    drawn = Segmentation([f"class {i}" for i in range(300)]).draw_prediction(
        np.zeros((3000, 4500, 3), np.uint8), {"mask": mask}
    )
    assert drawn.shape[1] == 4096 and drawn.shape[0] < 5000


@pytest.mark.skipif(not NUCLEI.is_dir(), reason="needs ../shared/data/nuclei")
def test_real_images_and_their_masks_lie_on_each_other():
    """Nuclei glow in these images: what the drawing tints is brighter than what it leaves."""
    task = Segmentation(["background", "nucleus"])
    for path in sorted((NUCLEI / "images/val").iterdir())[:4]:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(NUCLEI / "masks/val" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED).astype(np.int32)
        sample = Sample(image=image, mask=mask)
        changed = (task.draw_truth(image, sample)[: mask.shape[0]] != image).any(axis=-1)
        assert (changed == (mask == 1)).mean() > 0.999
        assert image[changed].mean() > 1.5 * image[~changed].mean()

        placement = Placement(mask.shape, (256, 256), "letterbox")
        seen = np.where(placement.place_mask(mask) == 1, 1, 0)
        restored = task.restore({"probabilities": np.eye(2, dtype=np.float32)[seen]}, placement)
        metric = task.metric()
        metric.update(sample, restored)
        assert metric.result()["mean_iou"] > 0.95


def test_an_image_s_score_is_its_mean_iou():
    image, mask = np.zeros((10, 10, 3), np.uint8), np.zeros((10, 10), np.int32)
    mask[:5], mask[5] = 1, VOID
    predicted = np.zeros((10, 10), np.int32)
    predicted[:4] = 1
    task = Segmentation("abc")
    assert task.image_score(Sample(image, mask=mask), {"mask": predicted}) == pytest.approx((40 / 50 + 40 / 50) / 2)
    assert np.isnan(task.image_score(Sample(image), {"mask": predicted}))
