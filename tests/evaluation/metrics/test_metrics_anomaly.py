"""AUROC against scikit-learn, AUPRO against a loop over thresholds."""

import numpy as np
import pytest

from visiontasks.evaluation.metrics.anomaly import Anomaly
from visiontasks.sample import VOID, Sample

sklearn = pytest.importorskip("sklearn.metrics")
ndimage = pytest.importorskip("scipy.ndimage")


def images(count=6, size=(20, 24), seed=0):
    """(masks, maps): two or three regions in every second mask, found in part."""
    rng = np.random.default_rng(seed)
    masks, maps = np.zeros((count, *size), np.int32), rng.gamma(2, 0.3, (count, *size)).astype("float32")
    for i in range(1, count, 2):
        masks[i, 2:6, 3:9] = masks[i, 12 : 13 + i, 15:17] = 1
        masks[i, 6, 9] = 2  # touches the first region with a corner
        maps[i] += rng.uniform(0, 1.2) * (masks[i] > 0)
    masks[:, -2:] = VOID
    return masks, maps


def scored(masks, maps, scores):
    metric = Anomaly()
    for mask, values, score in zip(masks, maps, scores, strict=True):
        label = int((mask % VOID).any())
        sample = Sample(np.zeros((*mask.shape, 3), np.uint8), label=label, mask=mask)
        metric.update(sample, {"map": values, "score": score})
    return metric.result()


def slow_aupro(masks, maps):
    """For each threshold the mean overlap with each region, over the false-positive rate up to 0.3."""
    eight, points = np.ones((3, 3)), [(0.0, 0.0)]
    regions = []
    for mask, values in zip(masks, maps, strict=True):
        labels, count = ndimage.label((mask > 0) & (mask != VOID), eight)
        regions += [values[labels == k] for k in range(1, count + 1)]
    normal = maps[masks == 0]
    for threshold in np.unique(maps)[::-1]:
        points.append(((normal >= threshold).mean(), np.mean([(r >= threshold).mean() for r in regions])))
    rates, overlaps = np.array(points).T
    end = np.interp(0.3, rates, overlaps)
    kept = rates < 0.3
    return np.trapezoid([*overlaps[kept], end], [*rates[kept], 0.3]) / 0.3


def test_it_equals_scikit_learn_and_the_slow_loop():
    masks, maps = images()
    labels, scores = np.arange(6) % 2, np.float64([0.5, 0.9, 0.9, 1.4, 0.2, 0.6])
    found = scored(masks, maps, scores)
    assert found["image_auroc"] == pytest.approx(sklearn.roc_auc_score(labels, scores))
    counted = masks != VOID
    expected = sklearn.roc_auc_score(masks[counted] > 0, maps[counted])
    assert found["pixel_auroc"] == pytest.approx(expected, abs=1e-4)
    assert found["aupro"] == pytest.approx(slow_aupro(masks, maps), abs=2e-3)
    assert found["recall"] == pytest.approx(1 / 3) and found["specificity"] == 1


def test_the_best_map_has_one_and_a_constant_one_a_half():
    masks, _ = images()
    best = (masks % VOID > 0).astype("float32")
    found = scored(masks, best, [0, 1, 0, 1, 0, 1])
    assert all(found[key] == 1 for key in ("image_auroc", "pixel_auroc", "recall", "specificity"))
    assert found["aupro"] == pytest.approx(1)
    found = scored(masks, np.ones_like(best), np.ones(6))
    assert found["image_auroc"] == found["pixel_auroc"] == 0.5
    assert found["aupro"] == pytest.approx(0.15)  # on the diagonal up to a rate of 0.3


def test_without_masks_or_without_defects_the_scores_are_undefined():
    metric, image = Anomaly(), np.zeros((4, 4, 3), np.uint8)
    for label in (0, 1, -1):
        metric.update(Sample(image, label=label), {"map": np.ones((4, 4)), "score": 0.5 + label})
    found = metric.result()
    assert found["image_auroc"] == 1 and np.isnan([found["pixel_auroc"], found["aupro"]]).all()
    metric = Anomaly()
    metric.update(Sample(image, label=0, mask=np.zeros((4, 4), int)), {"map": np.ones((4, 4)), "score": 0.5})
    assert np.isnan([metric.result()[key] for key in ("image_auroc", "pixel_auroc", "aupro", "recall")]).all()
