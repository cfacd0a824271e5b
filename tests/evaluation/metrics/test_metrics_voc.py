"""PASCAL VOC's average precision against a slow, plain version of the development kit, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visiontasks.evaluation.metrics.detection import Detection
from visiontasks.evaluation.metrics.voc import average_precision
from visiontasks.sample import Sample

IMAGE = np.zeros((100, 100, 3), np.uint8)


def kit_outcomes(detections, objects):
    """VOCevaldet.m as it reads, box by box: 1 hit, 0 miss, -1 ignored, by falling score.

    Args:
        detections: [(score, image, box)].
        objects: [(image, box, difficult)], boxes x1, y1, x2, y2 with the last pixel's end.
    """
    taken, outcomes = set(), []
    for _, image, (dx1, dy1, dx2, dy2) in sorted(detections, key=lambda d: -d[0]):
        best, which = -np.inf, None
        for number, (where, (x1, y1, x2, y2), _) in enumerate(objects):
            # the kit's pixels are numbered from 1 and both ends lie inside: xmin = x1 + 1, xmax = x2
            width = min(dx2, x2) - max(dx1 + 1, x1 + 1) + 1
            height = min(dy2, y2) - max(dy1 + 1, y1 + 1) + 1
            if where == image and width > 0 and height > 0:
                union = (dx2 - dx1) * (dy2 - dy1) + (x2 - x1) * (y2 - y1) - width * height
                if width * height / union > best:
                    best, which = width * height / union, number
        if best < 0.5:
            outcomes.append(0)
        elif objects[which][2]:
            outcomes.append(-1)
        else:
            outcomes.append(int(which not in taken))
            taken.add(which)
    return outcomes


def kit_precisions(outcomes, positives):
    """VOC07's and VOC12's average precision, as the kit's VOCap.m and its forerunner sum them up."""
    counted = np.array([o for o in outcomes if o >= 0], float)
    hits, misses = np.cumsum(counted == 1), np.cumsum(counted == 0)
    recall, precision = hits / positives, hits / np.maximum(hits + misses, 1)
    voc07 = 0
    for tenths in range(11):
        at_least = precision[10 * hits >= tenths * positives]
        voc07 += (at_least.max() if at_least.size else 0) / 11
    recalls, heights = np.concatenate([[0], recall, [1]]), np.concatenate([[0], precision, [0]])
    for i in range(len(heights) - 2, -1, -1):
        heights[i] = max(heights[i], heights[i + 1])
    steps = [i for i in range(1, len(recalls)) if recalls[i] != recalls[i - 1]]
    return voc07, sum((recalls[i] - recalls[i - 1]) * heights[i] for i in steps)


@settings(max_examples=60)
@given(st.integers(1, 15), st.integers(1, 3), st.sampled_from([0, 0.3, 1]), st.integers(0, 2**32 - 1))
def test_equals_the_kit(images, classes, difficult, seed):
    """Whole pixels, so that overlaps of exactly one half occur; some objects at one place; equal scores too."""
    rng = np.random.default_rng(seed)
    metric = Detection([f"c{i}" for i in range(classes)])
    detections, objects = ([[] for _ in range(classes)] for _ in range(2))
    for number in range(images):
        corner = rng.integers(0, 8, (rng.integers(0, 5), 2))
        boxes = np.concatenate([corner, corner + rng.integers(1, 5, corner.shape)], axis=1).astype(np.float32)
        labels, hard = rng.integers(0, classes, len(boxes)), rng.random(len(boxes)) < difficult
        sample = Sample(image=IMAGE, boxes=boxes, classes=labels.astype(np.int32))
        object.__setattr__(sample, "ignored", hard)
        corner = rng.integers(0, 8, (rng.integers(0, 9), 2))
        predicted = np.concatenate([corner, corner + rng.integers(1, 5, corner.shape)], axis=1).astype(np.float32)
        near = rng.random(len(predicted)) < 0.5 * bool(len(boxes))
        predicted[near] = boxes[rng.integers(0, max(1, len(boxes)), near.sum())]
        guesses, scores = rng.integers(0, classes, len(predicted)), rng.integers(0, 30, len(predicted)) / 30
        metric.update(sample, {"boxes": predicted, "classes": guesses, "scores": scores})
        for box, label, flag in zip(boxes.tolist(), labels, hard, strict=True):
            objects[label].append((number, box, flag))
        for box, guess, value in zip(predicted.tolist(), guesses, scores.astype(np.float32), strict=True):
            detections[guess].append((value, number, box))
    expected = []
    for ours, theirs in zip(detections, objects, strict=True):
        positives = sum(not flag for _, _, flag in theirs)
        if positives:
            expected.append(kit_precisions(kit_outcomes(ours, theirs), positives))
    result = metric.result()
    voc07, voc12 = np.mean(expected, axis=0) if expected else (np.nan, np.nan)
    assert result["voc07_ap50"] == pytest.approx(voc07, nan_ok=True)
    assert result["voc12_ap50"] == pytest.approx(voc12, nan_ok=True)


@pytest.mark.parametrize(
    ("hits", "positives", "voc07", "voc12"),
    [
        ([1], 1, 1, 1),
        ([0, 1], 1, 1 / 2, 1 / 2),
        ([1], 2, 6 / 11, 1 / 2),  # recalls 0 to 0.5 have precision 1
        ([1, 0, 1], 2, (6 + 5 * 2 / 3) / 11, (1 + 2 / 3) / 2),
        ([0, 0], 3, 0, 0),
        ([], 3, 0, 0),
        ([1, 1, 1], 10, 4 / 11, 3 / 10),  # 3 of 10 reach recall 0.3, though 0.3 is no binary fraction
    ],
)
def test_by_hand(hits, positives, voc07, voc12):
    assert average_precision(np.array(hits, bool), positives) == pytest.approx((voc07, voc12))


def test_nothing_to_find_has_no_precision():
    assert np.isnan(average_precision(np.array([False]), 0)).all()


def test_a_second_answer_is_a_mistake_though_another_object_is_free():
    """What tells VOC from COCO: there the second detection would take the object that it overlaps less."""
    boxes = np.float32([[0, 0, 40, 40], [0, 10, 40, 50]])
    metric = Detection(["a"])
    predicted = np.float32([[0, 2, 40, 42], [0, 3, 40, 43]])  # both overlap the first object more
    metric.update(
        Sample(image=IMAGE, boxes=boxes, classes=np.int32([0, 0])),
        {"boxes": predicted, "classes": np.int32([0, 0]), "scores": np.float32([0.9, 0.8])},
    )
    result = metric.result()
    assert result["ap50"] == pytest.approx(1) and result["voc12_ap50"] == pytest.approx(0.5)
