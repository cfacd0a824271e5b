"""The keypoint branch: what it learns from, and what it leaves out."""

import fakes
import keras
import numpy as np
import pytest
from families import NARROW
from keras import ops

from visiontasks.heads.keypoint_rcnn import KeypointRCNN
from visiontasks.heads.rcnn import RCNN
from visiontasks.heads.rcnn_keypoints import KeypointBranch
from visiontasks.inference.keypoint_maps import keypoints_of
from visiontasks.model import VisionModel
from visiontasks.registry.catalog import tasks_of
from visiontasks.skeleton import COCO_PERSON

CELLS, POINTS = 4, 3


def branch():
    keras.utils.set_random_seed(0)
    made = KeypointBranch(POINTS, filters=8, layers=1, bins=CELLS)
    made.build({2: (None, None, None, 6)}, (None, None, 4))
    return made


def samples(labels=(1, 1, 0)):
    boxes = np.float32([[[8, 8, 40, 72], [0, 0, 16, 16], [4, 4, 20, 20]]])
    return {
        "boxes": boxes,
        "targets": boxes,
        "valid": np.ones((1, 3), bool),
        "labels": np.int32([labels]),
        "matches": np.int32([[1, 0, 0]]),
    }


def targets():
    points = np.zeros((1, 2, POINTS, 3), np.float32)
    points[0, 1] = [[9, 9, 2], [40, 72, 1], [24, 40, 2]]  # the second lies on the corner of its box
    points[0, 0] = [[3, 3, 2], [90, 3, 2], [5, 5, 0]]  # the second lies outside, the third is not labeled
    return {"keypoints": points}


def at_truth(size=4 * CELLS):
    """Logits (1, 3, S / 2, S / 2, K), high in the cells of the targets of the first two samples."""
    logits, places = np.zeros((1, 3, size // 2, size // 2, POINTS), np.float32), targets()["keypoints"][0]
    for sample, matched in ((0, 1), (1, 0)):
        x1, y1, x2, y2 = samples()["boxes"][0, sample]
        for number, (x, y, _) in enumerate(places[matched]):
            column, row = ((v - low) / (high - low) * size // 2 for v, low, high in ((x, x1, x2), (y, y1, y2)))
            logits[0, sample, int(min(row, size // 2 - 1)), int(min(column, size // 2 - 1)), number] = 30
    return logits


def test_arguments_make_a_faster_r_cnn_a_keypoint_r_cnn():
    plain, points, short = RCNN(3), RCNN(3, keypoints={"filters": 16, "layers": 2}), KeypointRCNN(3)
    assert plain.skeleton is None and short.skeleton == COCO_PERSON
    for head in (points, short):
        assert (head.task, head.fields) == ("pose", ("classes", "boxes", "keypoints"))
        assert head.loss_terms[-1] == "keypoints"
    both = KeypointRCNN(3, mask={}, skeleton=fakes.SKELETON)
    assert both.task == "posed_instances" and {"instance_masks", "keypoints"} <= {*both.fields}
    again = RCNN.from_config(both.get_config() | {"keypoints": {}})
    assert again.skeleton.limbs == both.skeleton.limbs == fakes.SKELETON.limbs
    with pytest.raises(ValueError, match=r"skeleton: expected a Skeleton, .*limbs: expected pairs of the keypoints"):
        KeypointRCNN(3, skeleton={"names": ["a", "b"], "limbs": [["a", "c"]]})


def test_the_loss_counts_labeled_keypoints_inside_the_box_of_an_object():
    made = branch()
    loss = made.compute_losses(at_truth(), samples(), targets())["keypoints"]
    assert float(loss.count) == 3 + 1
    # the corner's cell is the last: interpolated maps are highest at most one cell beside it
    assert float(loss.total) < 0.5 * 4 * np.log((4 * CELLS) ** 2)
    none = made.compute_losses(at_truth(), samples(labels=(0, 0, 0)), targets())["keypoints"]
    assert float(none.count) == float(none.total) == 0
    hidden = targets()
    hidden["keypoints"][..., 2] = np.where(hidden["keypoints"][..., 2] > 0, 1, 0)
    assert float(made.compute_losses(at_truth(), samples(), hidden)["keypoints"].total) == float(loss.total)


def test_the_truth_is_read_within_a_cell():
    found, _ = keypoints_of(at_truth()[0, :1], samples()["boxes"][0, :1], [0.1] * POINTS)
    off = np.abs(found[0, :, :2] - targets()["keypoints"][0, 1, :, :2])
    assert (off <= np.array([32, 64]) / (2 * CELLS)).all() and (found[..., 2] > 0.5).all()


def test_masks_and_keypoints_on_one_r_cnn():
    keras.utils.set_random_seed(0)
    head = KeypointRCNN(fakes.CLASSES, skeleton=fakes.SKELETON, **NARROW["keypoint_rcnn"] | {"score_threshold": 0.0})
    model = VisionModel(fakes.backbone((64, 64)), head)
    batch = fakes.images(2, (64, 64))
    losses = head.compute_losses(batch, model(batch["image"], training=True))
    assert float(losses["mask"].count) > 0 and float(losses["keypoints"].count) > 0
    predictions = keras.tree.map_structure(ops.convert_to_numpy, model.decode(model(batch["image"])))
    assert {"masks", "keypoint_maps"} <= predictions.keys()
    (task,) = tasks_of(model).values()
    assert task.columns == ("boxes", "scores", "classes", "keypoints", "masks")
