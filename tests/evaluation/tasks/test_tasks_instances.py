"""Instances: restored to the image's pixels, drawn, and written."""

import io
import json

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from visiontasks.drawing.boxes import FEW
from visiontasks.evaluation.tasks.instances import Instances
from visiontasks.geometry import Placement
from visiontasks.instance_masks import InstanceMasks
from visiontasks.mask_shapes import Patch
from visiontasks.sample import Sample

NAMES = ("disc", "bar")


def scene(size=(96, 128), count=6):
    """A Sample of ellipses of two classes."""
    rng = np.random.default_rng(0)
    masks = np.zeros((count, *size), np.uint8)
    for number, mask in enumerate(masks):
        center = (12 + number * (size[1] - 24) // count, int(rng.integers(20, size[0] - 20)))
        cv2.ellipse(mask, center, (8, 14), float(rng.uniform(0, 90)), 0, 360, 1, -1)
    image = rng.integers(0, 120, (*size, 3), dtype=np.uint8)
    masks = InstanceMasks.of(masks)
    return Sample(image, boxes=masks.boxes(), classes=np.arange(count) % 2, instance_masks=masks)


def prediction_of(sample, placement, cells=64):
    """The objects as predictions on the canvas, best last, and one box of padding."""
    masks = sample.instance_masks
    count, scale = len(masks) + 1, np.tile(placement.scale[::-1], 2)
    boxes = np.zeros((count, 4), np.float32)
    boxes[:-1] = sample.boxes * scale + np.tile(placement.offset[::-1], 2)
    grids = np.concatenate([masks.crops(sample.boxes, cells), np.ones((1, cells, cells))]).astype(np.float32)
    return {
        "boxes": boxes,
        "masks": grids,
        "scores": np.linspace(0.6, 0.9, count).astype(np.float32),
        "classes": np.append(sample.classes, 0).astype(np.int32),
        "valid": np.arange(count) < count - 1,
    }


def test_masks_come_back_in_the_image_s_pixels_best_first():
    sample = scene()
    for mode, size in (("letterbox", (200, 160)), ("stretch", (64, 200)), ("letterbox", (96, 128))):
        placement = Placement((96, 128), size, mode)
        found = Instances(NAMES).restore(prediction_of(sample, placement), placement)
        assert found["classes"].tolist() == sample.classes[::-1].tolist() and (np.diff(found["scores"]) < 0).all()
        ours, theirs = np.asarray(found["masks"]), np.asarray(sample.instance_masks)[::-1]
        iou = (ours & theirs).sum(axis=(1, 2)) / (ours | theirs).sum(axis=(1, 2))
        assert iou.min() > 0.93
        np.testing.assert_allclose(found["boxes"], sample.boxes[::-1], atol=1e-3)


def test_what_a_diverged_network_predicts_is_dropped_or_empty():
    sample = scene()
    placement = Placement((96, 128), (96, 128), "letterbox")
    prediction = prediction_of(sample, placement)
    prediction["boxes"][0, 1], prediction["scores"][1], prediction["masks"][2] = np.nan, np.nan, np.nan
    found = Instances(NAMES).restore(prediction, placement)
    assert found["scores"].tolist() == prediction["scores"][[5, 4, 3, 2]].tolist()
    assert found["masks"].empty.tolist() == [False, False, False, True]
    entries = Instances(NAMES).to_json(found)["objects"]
    assert coco_mask.decode(entries[-1]["mask"]).sum() == 0
    Instances(NAMES).draw_prediction(sample.image, found)


def test_a_box_on_the_border_of_its_image_keeps_its_grid():
    """The part of a mask on padding is cut off; the rest is not stretched to where the box was cut."""
    placement = Placement((40, 80), (80, 80), "letterbox")  # 20 rows of padding above and below
    grid = np.zeros((1, 8, 8), np.float32)
    grid[0, 4:] = 1  # the lower half of a box of which the upper half is on padding
    prediction = {"boxes": np.float32([[10, 10, 30, 30]]), "masks": grid, "scores": np.float32([0.9])}
    prediction |= {"classes": np.zeros(1, np.int32), "valid": np.ones(1, bool)}
    found = Instances(NAMES).restore(prediction, placement)
    np.testing.assert_allclose(found["boxes"], [[10, 0, 30, 10]])
    expected = np.zeros((40, 80), np.uint8)
    expected[0:10, 10:30] = 1
    ours = np.asarray(found["masks"])[0]
    assert set(zip(*np.nonzero(ours != expected), strict=True)) <= {(y, x) for y in (0, 9) for x in (10, 29)}  # corners


def test_results_are_coco_s_run_lengths_and_an_index_image():
    sample = scene()
    task, placement = Instances(NAMES), Placement((96, 128), (96, 128), "stretch")
    found = task.restore(prediction_of(sample, placement), placement)
    written = json.loads(json.dumps(task.to_json(found)))["objects"]
    assert [one["class"] for one in written] == [NAMES[i] for i in found["classes"]]
    for one, mask in zip(written, np.asarray(found["masks"]), strict=True):
        np.testing.assert_array_equal(coco_mask.decode(one["mask"]), mask)
    labels = np.asarray(Image.open(io.BytesIO(task.attachments(found)["instances.png"])))
    assert labels.shape == (96, 128) and labels.max() == len(written)
    for number, mask in enumerate(np.asarray(found["masks"]), start=1):
        assert (mask[labels == number] == 1).all() and (labels == number).sum() > 0.5 * mask.sum()


def test_drawings_show_each_object_and_no_more_text_than_can_be_read():
    sample = scene((300, 400))
    task, placement = Instances(NAMES), Placement((300, 400), (300, 400), "stretch")
    found = task.restore(prediction_of(sample, placement), placement)
    for drawn in (task.draw_truth(sample.image, sample), task.draw_prediction(sample.image, found)):
        assert drawn.dtype == np.uint8 and drawn.shape[0] > 300
        region = np.asarray(sample.instance_masks).any(axis=0)
        changed = (drawn[:300, :400] != sample.image).any(axis=-1)
        assert changed[region].mean() > 0.99
    plain = task.draw_truth(sample.image, sample)[:300, :400]
    assert (plain[~region] == sample.image[~region]).mean() > 0.97

    def with_text(count, large):
        """Whether copies of an object have texts; large ones are larger than their text."""
        copies = {key: value[np.zeros(count, int)] for key, value in found.items()}
        copies["boxes"] = np.float32([[20, 40, 380, 280]] if large else [[20, 40, 36, 70]]).repeat(count, axis=0)
        tagged = task.draw_prediction(sample.image, copies)[:300, :400]
        plain = task.draw_prediction(sample.image, {**copies, "scores": np.full(count, 0.1, np.float32)})[:300, :400]
        return ((tagged != plain).any(axis=-1) & ~region).sum() > 200

    assert with_text(FEW, False) and with_text(FEW + 1, True) and with_text(200, True)
    assert not with_text(FEW + 1, False)
    # a large image has thousands of objects, and all masks are shown
    rows, columns = np.mgrid[2:290:20, 2:390:20].reshape(2, -1)
    shapes = [Patch(int(x), int(y), np.ones((8, 8), np.uint8)) for y, x in zip(rows, columns, strict=True)]
    masks, count = InstanceMasks(shapes, (300, 400)), len(shapes)
    dense = {"boxes": masks.boxes(), "scores": np.full(count, 0.9, np.float32), "classes": np.zeros(count, np.int32)}
    drawn = task.draw_prediction(sample.image, {**dense, "masks": masks})[:300, :400]
    changed = (drawn != sample.image).any(axis=-1)
    assert count > 200 and all(changed[y + 4, x + 4] for y, x in zip(rows, columns, strict=True))
    unlabeled = task.draw_truth(sample.image, Sample(sample.image))
    assert (unlabeled[:300, :400] == sample.image).all()
    ignored = sample.replace(ignored=np.ones(6, bool))
    assert (task.draw_truth(sample.image, ignored)[:300, :400] != plain).any()


def test_a_comparison_boxes_false_positives_and_missed_objects():
    """Of objects that are right the masks are enough."""
    sample = scene((300, 400))
    task, placement = Instances(NAMES), Placement((300, 400), (300, 400), "stretch")
    found = task.restore(prediction_of(sample, placement), placement)
    same = found["classes"] == sample.classes[::-1]
    assert same.all()
    found["classes"] = found["classes"].copy()
    found["classes"][0] = 1 - found["classes"][0]  # of the last object: one false positive, one missed
    (_, truth), (_, predicted) = task.draw_comparison(sample.image, sample, found)
    for panel, plain in (
        (truth, task.draw_truth(sample.image, sample)),
        (predicted, task.draw_prediction(sample.image, found)),
    ):
        differs = (panel[:300, :400] != plain[:300, :400]).any(axis=-1)
        x1, y1, x2, y2 = sample.boxes[-1].astype(int)
        assert differs[y1 - 1 : y2 + 1, [x1, x2 - 1]].any(axis=0).all()  # a line on both sides
        differs[max(0, y1 - 25) : y2 + 25, x1 - 1 :] = False  # its text is in there
        differs[y1 - 25 : y2 + 25, x1 - 120 : x1] = False
        assert not differs.any()


def test_images_are_ranked_and_drawn_by_masks_not_by_boxes():
    sample = scene((300, 400))
    task, placement = Instances(NAMES), Placement((300, 400), (300, 400), "stretch")
    found = task.restore(prediction_of(sample, placement), placement)
    assert task.image_score(sample, found) == 1
    tiny = InstanceMasks([Patch(int(x), int(y), np.ones((1, 2), np.uint8)) for x, y, *_ in found["boxes"]], (300, 400))
    wrong = {**found, "masks": tiny}  # the boxes are right
    assert task.image_score(sample, wrong) == 0
    (_, truth), _ = task.draw_comparison(sample.image, sample, wrong)
    assert (truth[:300, :400] != task.draw_truth(sample.image, sample)[:300, :400]).any()  # missed
    # an object without a mask has its box alone
    shapes = [None, *sample.instance_masks.shapes[1:]]
    partly = sample.replace(instance_masks=InstanceMasks(shapes, (300, 400)))
    assert task.image_score(partly, found) == 1 and 0 < task.image_score(partly, wrong) < 0.2
    none = {key: value[:0] for key, value in found.items()}
    assert task.image_score(sample, none) == 0
    crowd = sample.replace(ignored=np.ones(6, bool))
    assert np.isnan(task.image_score(crowd, found))
