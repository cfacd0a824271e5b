"""Mask metrics: pycocotools called directly, StarDist's `matching`, and plain loops over pixels."""

import contextlib
import io
import itertools

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from visiontasks.evaluation.metrics.coco import METRICS
from visiontasks.evaluation.metrics.instances import Instances
from visiontasks.evaluation.metrics.label_maps import IOUS, LabelMaps
from visiontasks.instance_masks import InstanceMasks
from visiontasks.sample import Sample

SIZE = (120, 160)


def ellipses(rng, count, size=SIZE):
    """uint8 (N, H, W), none of them empty."""
    masks = np.zeros((count, *size), np.uint8)
    for mask in masks:
        center = (int(rng.integers(5, size[1] - 5)), int(rng.integers(5, size[0] - 5)))
        axes = (int(rng.integers(2, 40)), int(rng.integers(2, 30)))
        cv2.ellipse(mask, center, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return masks


def labeled(masks, classes, **more):
    masks = masks if isinstance(masks, InstanceMasks) else InstanceMasks.of(masks)
    boxes = more.pop("boxes", masks.boxes())
    return Sample(np.zeros((*masks.size, 3), np.uint8), boxes=boxes, classes=classes, instance_masks=masks, **more)


def predicted(masks, classes, scores):
    masks = masks if isinstance(masks, InstanceMasks) else InstanceMasks.of(masks)
    scores, classes = np.array(scores, np.float32), np.array(classes, np.int32)
    return {"boxes": masks.boxes(), "classes": classes, "scores": scores, "masks": masks}


def images(seed, count=6, classes=3):
    """[(Sample, prediction)]: some objects found a little beside, some missed, some invented; some ignored."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        truth = ellipses(rng, int(rng.integers(0, 9)))
        kinds = rng.integers(0, classes, len(truth))
        found = [np.roll(mask, rng.integers(-4, 5, 2), axis=(0, 1)) for mask in truth if rng.random() < 0.8]
        found = np.stack([*found, *ellipses(rng, 2)])
        guessed = [*kinds[: len(found) - 2], *rng.integers(0, classes, len(found))][: len(found)]
        scores = rng.permutation(len(found)) / len(found) * 0.6 + 0.35
        sample = labeled(truth, kinds, ignored=rng.random(len(truth)) < 0.2, id=str(number))
        yield sample, predicted(found, guessed, scores)


def score(pairs, classes=3):
    metric = Instances([f"c{i}" for i in range(classes)])
    for sample, prediction in pairs:
        metric.update(sample, prediction)
    return metric


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_pycocotools(seed):
    pairs = list(images(seed))
    result = score(pairs).result()
    truth = {"images": [], "annotations": [], "categories": [{"id": i + 1} for i in range(3)]}
    results = []
    for number, (sample, prediction) in enumerate(pairs):
        truth["images"].append({"id": number + 1, "height": SIZE[0], "width": SIZE[1]})
        for i, kind in enumerate(sample.classes.tolist()):
            runs = sample.instance_masks.rle(i)
            entry = {"id": len(truth["annotations"]) + 1, "image_id": number + 1, "category_id": kind + 1}
            entry |= {"segmentation": runs, "area": float(coco_mask.area(runs)), "iscrowd": int(sample.ignored[i])}
            truth["annotations"].append(entry | {"bbox": coco_mask.toBbox(runs).tolist()})
        for i, (kind, value) in enumerate(zip(prediction["classes"], prediction["scores"], strict=True)):
            runs = prediction["masks"].rle(i)
            one = {"image_id": number + 1, "category_id": int(kind) + 1, "segmentation": runs, "score": float(value)}
            results.append(one)
    for kind, prefix in (("segm", "mask"), ("bbox", "box")):
        with contextlib.redirect_stdout(io.StringIO()):
            api = COCO()
            api.dataset = truth
            api.createIndex()
            # with a bbox, loadRes would take its area for masks too
            shown = [{**one, "bbox": coco_mask.toBbox(one["segmentation"]).tolist()} for one in results]
            found = api.loadRes([dict(one) for one in (results if kind == "segm" else shown)])
            for one in api.anns.values() if kind == "bbox" else ():
                one["area"] = one["bbox"][2] * one["bbox"][3]
            evaluation = COCOeval(api, found, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        for name, value in zip(METRICS, evaluation.stats, strict=True):
            ours = result[f"{prefix}_{name}"]
            assert (value == -1 and np.isnan(ours)) or abs(ours - value) < 1e-12, (kind, name)
    assert 0.05 < result["mask_ap"] < 0.95 and result["mask_ap"] != result["box_ap"]


def flat(rng, count, size=(40, 50)):
    """int32 (H, W) and the number of its objects: a label map of ellipses, without objects of no pixel."""
    masks = InstanceMasks.of(ellipses(rng, count, size))
    labels = masks.flat(range(count))
    numbers = np.unique(labels[labels >= 0])
    renumbered = np.full(count + 1, -1, np.int32)
    renumbered[numbers] = np.arange(len(numbers))
    return renumbered[labels], len(numbers)


def two_label_maps(seed):
    rng = np.random.default_rng(seed)
    truth, count = flat(rng, int(rng.integers(1, 7)))
    predicted_, found = flat(rng, int(rng.integers(1, 7)))
    if seed % 3:  # most objects are found
        predicted_, found = np.roll(truth, rng.integers(-2, 3, 2), axis=(0, 1)), count
    return truth, count, predicted_, found


def best_matches(iou, threshold):
    """The largest number of pairs with a sufficient IoU, by trying all."""
    rows, columns = iou.shape
    iou = iou if rows <= columns else iou.T
    return max(
        (
            sum(iou[i, j] >= threshold for i, j in enumerate(order))
            for order in itertools.permutations(range(iou.shape[1]), len(iou))
        ),
        default=0,
    )


@pytest.mark.parametrize("seed", range(6))
def test_panoptic_quality_and_matching_score_by_plain_loops(seed):
    label_maps = [two_label_maps(10 * seed + i) for i in range(3)]
    ours, ious, by_image = LabelMaps(1), [], []
    totals = np.zeros((len(IOUS), 3))
    for truth, count, predicted_, found in label_maps:
        ours.add(truth, np.zeros(count, int), predicted_, np.zeros(found, int), {})
        iou = np.zeros((count, found))
        for i, j in np.ndindex(count, found):
            iou[i, j] = ((truth == i) & (predicted_ == j)).sum() / ((truth == i) | (predicted_ == j)).sum()
        ious += iou[iou > 0.5].tolist()
        matches = np.array([best_matches(iou, threshold) for threshold in IOUS])
        totals += np.stack([matches, count - matches, found - matches], axis=1)
        by_image.append(np.mean(matches / (count + found - matches)))
    result = ours.result()
    hits, misses, wrong = totals.T
    objects, masks = (hits + misses)[0], (hits + wrong)[0]
    expected = {"pq": sum(ious) / ((objects + masks) / 2), "rq": len(ious) / ((objects + masks) / 2)}
    expected |= {"sq": np.mean(ious) if ious else 0.0, "matching_score": np.mean(hits / (hits + misses + wrong))}
    expected |= {f"matching_score{p}": (hits / (hits + misses + wrong))[(p - 50) // 5] for p in (50, 75, 90)}
    expected["matching_score_by_image"] = np.mean(by_image)
    assert result.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(result[name], value, rtol=1e-12, err_msg=name)


def test_matching_score_and_panoptic_quality_are_stardists():
    matching = pytest.importorskip("stardist.matching", reason="needs stardist, which the project does not")
    label_maps = [two_label_maps(100 + i) for i in range(8)]
    ours = LabelMaps(1)
    for truth, count, predicted_, found in label_maps:
        ours.add(truth, np.zeros(count, int), predicted_, np.zeros(found, int), {})
    result = ours.result()
    pair = [[one[i] + 1 for one in label_maps] for i in (0, 2)]
    theirs = [matching.matching_dataset(*pair, thresh=threshold, show_progress=False) for threshold in IOUS]
    np.testing.assert_allclose(result["matching_score"], np.mean([one.accuracy for one in theirs]))
    np.testing.assert_allclose(result["matching_score75"], theirs[5].accuracy)
    np.testing.assert_allclose(result["pq"], theirs[0].panoptic_quality)
    np.testing.assert_allclose(result["sq"], theirs[0].mean_matched_score)
    np.testing.assert_allclose(result["rq"], theirs[0].f1)
    averaged = [matching.matching_dataset(*pair, thresh=t, by_image=True, show_progress=False) for t in IOUS]
    np.testing.assert_allclose(result["matching_score_by_image"], np.mean([one.accuracy for one in averaged]))


def test_perfect_masks_score_one_and_none_scores_zero():
    rng = np.random.default_rng(0)
    labels, count = flat(rng, 6)
    truth = np.stack([labels == i for i in range(count)]).astype(np.uint8)
    kinds = np.arange(count) % 2
    perfect = score([(labeled(truth, kinds), predicted(truth, kinds, np.full(count, 0.9)))], 2).result()
    for name in ("mask_ap", "box_ap", "pq", "sq", "rq", "matching_score", "matching_score_by_image"):
        assert perfect[name] == pytest.approx(1), name
    nothing = score([(labeled(truth, kinds), predicted(truth[:0], [], []))], 2).result()
    assert nothing["mask_ap"] == nothing["pq"] == nothing["matching_score"] == nothing["sq"] == 0


def test_where_pixels_belong_to_two_the_better_mask_keeps_them():
    masks = np.zeros((3, 20, 20), np.uint8)
    masks[0, 2:12, 2:12] = masks[1, 4:14, 2:12] = masks[2, 3:12, 2:12] = 1
    labels = InstanceMasks.of(masks).flat([1, 0, 2], 0.5)
    assert (labels == 1).sum() == 100 and not (labels == 0).any() and not (labels == 2).any()
    labels = InstanceMasks.of(masks).flat([1, 0, 2])
    assert (labels == 0).sum() == 20


def test_an_object_without_a_mask_is_ignored_for_masks_and_counts_as_a_box():
    mask = np.zeros((1, 30, 30), np.uint8)
    mask[0, 5:15, 5:15] = 1
    boxes = np.float32([[5, 5, 15, 15], [18, 18, 28, 28]])
    masks = InstanceMasks([InstanceMasks.of(mask).shapes[0], None], (30, 30))
    other = np.zeros((1, 30, 30), np.uint8)
    other[0, 19:27, 19:27] = 1
    found = predicted(np.concatenate([mask, other]), [0, 0], [0.9, 0.8])
    result = score([(labeled(masks, [0, 0], boxes=boxes), found)], 1).result()
    assert result["mask_ap"] == pytest.approx(1) and result["box_ap50"] == pytest.approx(1)
    assert result["pq"] == result["matching_score"] == 1
    # a mask that is beside both is an error
    far = np.zeros((1, 30, 30), np.uint8)
    far[0, 0:4, 20:29] = 1
    found = predicted(np.concatenate([mask, other, far]), [0, 0, 0], [0.9, 0.8, 0.95])
    result = score([(labeled(masks, [0, 0], boxes=boxes), found)], 1).result()
    assert result["mask_ap"] == pytest.approx(0.5, abs=0.01) and result["matching_score"] == 0.5


def test_classes_that_are_not_known_and_images_without_labels_are_left_out():
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, 5:15, 5:15] = 1
    found = predicted(np.concatenate([mask, mask]), [0, 1], [0.9, 0.8])
    sample = labeled(mask, [0], known=np.array([True, False]))
    result = score([(sample, found), (Sample(sample.image), found)], 2).result()
    assert result["mask_ap"] == pytest.approx(1) and result["pq"] == result["matching_score"] == 1
