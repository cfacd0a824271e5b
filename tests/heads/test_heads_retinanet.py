"""RetinaNet against slow loops where torchvision has no such case: images not labeled, or without objects."""

import fakes
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.heads.retinanet import RetinaNet
from visiontasks.model import VisionModel
from visiontasks.ops import assignment
from visiontasks.ops import boxes as box_ops
from visiontasks.sample import NO_OBJECT


def made(**arguments):
    keras.utils.set_random_seed(0)
    return VisionModel(fakes.backbone(), RetinaNet(3, filters=8, convs=1, **arguments))


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slow_losses(boxes, classes, logits, deltas, anchors):
    """The losses of one image."""
    truths = np.flatnonzero(classes >= 0)
    overlaps = np.array([[iou(boxes[g], anchor) for anchor in anchors] for g in truths]).reshape(
        len(truths), len(anchors)
    )
    entropy = distance = positives = 0
    for a in range(len(anchors)):
        label, best = np.zeros(3), overlaps[:, a].max(initial=0)
        rescued = any(overlaps[g, a] == overlaps[g].max() for g in range(len(truths)))
        if best >= 0.5 or rescued:
            box = boxes[truths[overlaps[:, a].argmax()]]
            label[classes[truths[overlaps[:, a].argmax()]]] = 1
            lengths = anchors[a, 2:] - anchors[a, :2]
            center = ((box[:2] + box[2:]) - (anchors[a, :2] + anchors[a, 2:])) / 2 / lengths
            distance += np.abs(np.concatenate([center, np.log((box[2:] - box[:2]) / lengths)]) - deltas[a]).sum()
            positives += 1
        elif best >= 0.4:
            continue
        p = 1 / (1 + np.exp(-np.float64(logits[a])))
        right = np.where(label, p, 1 - p)
        entropy += (np.where(label, 0.25, 0.75) * (1 - right) ** 2 * -np.log(right)).sum()
    return entropy / max(1, positives), distance / max(1, positives)


def test_losses_are_means_over_labeled_images_each_by_its_own_objects():
    model, batch = made(), fakes.images(4)
    (head,) = model.heads.values()
    boxes, classes = np.zeros((4, 3, 4), "float32"), np.full((4, 3), NO_OBJECT, "int32")
    boxes[0, 1], classes[0, 1] = [3, 4, 13, 12], 2
    boxes[2, :2], classes[2, :2] = [[8, 8, 24, 24], [20, 2, 31, 30]], [0, 1]
    known = np.tile(np.array([[True]] * 3 + [[False]]), 3)  # image 1 is labeled, with no object
    outputs = model(batch["image"])
    got = head.compute_losses({"boxes": boxes, "classes": classes, "known": known}, outputs)
    flat = [ops.convert_to_numpy(ops.concatenate(outputs[key], 1)) for key in ("classes", "boxes", "anchors")]
    each = [slow_losses(boxes[i], classes[i], *(part[i] for part in flat)) for i in range(3)]
    assert each[1][0] > 0 and each[1][1] == 0
    np.testing.assert_allclose(float(got["classification"].mean), np.mean([e[0] for e in each]), rtol=1e-4)
    np.testing.assert_allclose(float(got["localization"].mean), np.mean([e[1] for e in each]), rtol=1e-4)


def test_adaptive_assignment_learns_from_the_anchors_that_it_chooses():
    """The loss that those anchors alone give, and no other box or label."""
    model, batch = made(assignment="adaptive"), fakes.images(2)
    (head,) = model.heads.values()
    outputs = model(batch["image"])
    losses = head.compute_losses(batch, outputs)
    levels = [x.shape[1] for x in outputs["anchors"]]
    anchors, deltas, logits = (
        ops.convert_to_numpy(ops.concatenate(outputs[k], axis=1)) for k in ("anchors", "boxes", "classes")
    )
    entropy, distance = [], []
    for i in range(2):
        matches = assignment.adaptive(batch["boxes"][i], np.array([True]), anchors[i], np.array([False]), levels)
        positive = ops.convert_to_numpy(matches) >= 0
        assert positive.any()
        label = np.zeros_like(logits[i])
        label[positive, batch["classes"][i, 0]] = 1
        p = 1 / (1 + np.exp(-np.float64(logits[i])))
        right = np.where(label, p, 1 - p)
        entropy.append((np.where(label, 0.25, 0.75) * (1 - right) ** 2 * -np.log(right)).sum() / positive.sum())
        wanted = ops.convert_to_numpy(box_ops.encode(batch["boxes"][i], anchors[i][positive]))
        distance.append(np.abs(wanted - deltas[i][positive]).sum() / positive.sum())
    np.testing.assert_allclose(float(losses["classification"].mean), np.mean(entropy), rtol=1e-4)
    np.testing.assert_allclose(float(losses["localization"].mean), np.mean(distance), rtol=1e-4)


def test_an_unknown_assignment_is_an_error():
    with pytest.raises(ValueError, match="assignment: expected one of overlap, adaptive, got 'best'"):
        RetinaNet(3, assignment="best")


def test_anchors_follow_the_strides_of_the_levels():
    model = made()
    outputs = model(np.zeros((1, 64, 64, 3), "uint8"))
    for stride, anchors in zip((2, 4, 8, 16, 32), outputs["anchors"], strict=True):
        anchors = ops.convert_to_numpy(anchors)[0]
        assert len(anchors) == 9 * (64 // stride) ** 2
        np.testing.assert_array_equal(anchors[9:18] - anchors[:9], np.tile([[stride, 0, stride, 0]], (9, 1)))
        squares = anchors[3:6, 2] - anchors[3:6, 0]  # height over width 1, in whole pixels around the corner
        expected = [2 * round(int(4 * stride * 2 ** (i / 3)) / 2) for i in range(3)]
        np.testing.assert_array_equal(squares, expected)


def test_every_score_begins_at_the_prior():
    outputs = made()(np.full((1, 32, 32, 3), 90, "uint8"))
    scores = ops.convert_to_numpy(ops.sigmoid(ops.concatenate(outputs["classes"], axis=1)))
    np.testing.assert_allclose(scores, 0.01, rtol=0.1)


def test_decodes_the_best_pairs_of_each_level():
    """Two levels: of each, the best of all pairs of anchor and class; then suppressed class by class."""
    head = RetinaNet(2, candidates=2, detections=4, score_threshold=0.3, iou_threshold=0.5)
    anchors = np.float32([[[0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 40, 40]]])
    logits = np.float32([[[2, 1], [0.5, 1.5], [-3, 1.7]]])
    outputs = {
        "anchors": [anchors, anchors[:, :1] + 50],
        "boxes": [np.zeros((1, 3, 4), "float32"), np.zeros((1, 1, 4), "float32")],
        "classes": [logits, np.float32([[[-4, 0]]])],
        "size": np.float32([[58, 100]]),
    }
    got = {key: ops.convert_to_numpy(value)[0] for key, value in head.decode(outputs).items()}
    # of the first level class 0 of anchor 0, and class 1 of anchor 2; of the second, clipped to the image, class 1
    np.testing.assert_array_equal(got["valid"], [True, True, True, False])
    np.testing.assert_array_equal(got["classes"][:3], [0, 1, 1])
    np.testing.assert_allclose(got["scores"][:3], 1 / (1 + np.exp(-np.array([2, 1.7, 0]))), rtol=1e-5)
    np.testing.assert_allclose(got["boxes"][:3], [[0, 0, 10, 10], [30, 30, 40, 40], [50, 50, 60, 58]], atol=1e-4)


def test_the_image_size_must_be_known():
    model = made()
    (head,) = model.heads.values()
    with pytest.raises(ValueError, match="retinanet: the image's height and width must be known"):
        head(
            {tap: keras.KerasTensor((None, 8, 8, 4)) for tap in ("C1", "C2", "C3")}
            | {"image": keras.KerasTensor((1, None, 8, 3))}
        )
