"""`Pose`: average precision of keypoints by OKS, the share of correct ones, their errors, and their calibration."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from visiontasks.drawing.charts import bars_figure, calibration_figure
from visiontasks.evaluation.metrics import detection, matching
from visiontasks.evaluation.metrics.coco import coco_keypoint_scores
from visiontasks.evaluation.metrics.confusion import by_class, ratio
from visiontasks.evaluation.metrics.detection import Detection
from visiontasks.evaluation.metrics.metric import Metric
from visiontasks.ops.numpy_keypoints import FILLED, oks, similarity
from visiontasks.sample import Sample
from visiontasks.skeleton import Skeleton

TORSO, HEAD, BOX = 0.2, 0.5, 0.2  # the share of its scale within which a keypoint is correct
SIMILAR = 0.5  # the part of OKS from which the calibration takes a keypoint as correct
BINS = 10
_HEADS = (("head_top", "neck"), ("head_top", "upper_neck"), ("head", "neck"))


class Pose(Metric):
    """Scores {"boxes", "scores", "classes", "keypoints": float32 (D, K, 3), x, y and score}, boxes as in `Detection`.

    `result` gives pycocotools' metrics of keypoints, "keypoint_ap", the mean over OKS 0.50:0.95 and over the classes,
    "keypoint_ap50", "keypoint_ar" …, "keypoint_ap/NAME", with the skeleton's sigmas; and "box_ap" … of the boxes.

    The others are about single keypoints. The people of an image, those with a labeled keypoint, are matched one to one
    with detections of their class so that the sum of OKS is the largest. "pck" is the share of the labeled keypoints
    that are less than 0.2 of the torso away, left shoulder to right hip, as is usual on LSP; a person whose torso is
    not labeled is left out, and a keypoint of a person without a detection is wrong. For skeletons without these it is
    "pck_box", 0.2 of the longer side of the person's box. "pckh" is 0.5 of the distance from the neck to the top of the
    head, for skeletons that have both (MPII measures the head by a box, which these data do not have). "error_px" is
    the mean distance in pixels of the keypoints of matched people, and "error" in square roots of the person's area.
    Each also by keypoint, such as "pck/left_knee". "calibration_error" is the mean difference between a keypoint's
    score and how often such a keypoint is near: where its part of OKS is 0.5 and above (Guo et al. 2017,
    https://arxiv.org/abs/1706.04599, equation 3).

    Results of one image may come in several updates, such as one for each person.

    Args:
        names: of the classes.
        skeleton: of the keypoints.
    """

    def __init__(self, names: Sequence[str], skeleton: Skeleton):
        self.names, self.skeleton = tuple(names), skeleton
        self._images, self._numbers = {}, []
        self._detection = Detection(names)
        self._points = [np.zeros((0, len(skeleton), 3), np.float32)], [np.zeros((0, len(skeleton), 3), np.float32)]
        self._parts = []  # one entry per update
        torso, head = (
            skeleton.index_of("left_shoulder", "right_hip"),
            map(lambda pair: skeleton.index_of(*pair), _HEADS),
        )
        head = next(filter(None, head), None)
        self._scales = {"pck" if torso else "pck_box": (torso, TORSO if torso else BOX)}
        self._scales |= {"pckh": (head, HEAD)} if head else {}

    def update(self, sample, prediction):
        if sample.boxes is None or sample.classes is None or sample.keypoints is None:
            return
        if sample.keypoints.shape[1] != len(self.skeleton):
            raise ValueError(
                f"keypoints of {sample.id or sample.path}: expected {len(self.skeleton)}, as the model predicts, got "
                f"{sample.keypoints.shape[1]}. Evaluate on data with these keypoints: {', '.join(self.skeleton)}."
            )
        self._detection.update(sample, prediction)
        image = sample.path or sample.id or len(self._numbers)
        self._numbers.append(self._images.setdefault(image, len(self._images)))
        known = np.ones(len(self.names), bool) if sample.known is None else sample.known
        rows, seen = known[sample.classes], known[prediction["classes"]]
        for points, kept in zip(self._points, (sample.keypoints[rows], prediction["keypoints"][seen]), strict=True):
            points.append(kept)
        self._parts.append(self._matched(sample, prediction))

    def _matched(self, sample, prediction):
        """Of each labeled keypoint of each person: its number, distance, score, part of OKS, and scales."""
        truth, found, labeled = sample.keypoints, prediction["keypoints"], labeled_points(sample)
        people = np.flatnonzero(labeled.any(axis=1))
        sizes, areas = np.float64(sample.boxes[:, 2:] - sample.boxes[:, :2])[people], areas_of(sample)[people]
        truth, labeled = truth[people], labeled[people]
        alike = oks(found, truth, areas, self.skeleton.sigmas, labeled)
        # where OKS is 0 to all digits, or equal, the nearest
        away = np.linalg.norm(np.float64(found[:, None, :, :2]) - truth[..., :2], axis=-1)
        away = np.where(labeled, away, 0).sum(axis=-1) / np.maximum(labeled.sum(axis=-1), 1)
        alike = np.where(prediction["classes"][:, None] == sample.classes[people], alike + 1e-9 / (1 + away), -1)
        rows, columns = linear_sum_assignment(-alike)
        matched = alike[rows, columns] > 0
        partner = np.full(len(people), -1)
        partner[columns[matched]] = rows[matched]
        has = (partner >= 0)[:, None]
        theirs = found[partner] if len(found) else np.zeros_like(truth)
        distances = np.where(has, np.linalg.norm(np.float64(theirs[..., :2]) - truth[..., :2], axis=-1), np.inf)
        near = np.where(has, similarity(theirs, truth, areas[:, None], self.skeleton.sigmas), 0)
        scales = {"area": np.sqrt(areas)}
        for name, (ends, _) in self._scales.items():
            if ends is None:
                scales[name] = sizes.max(axis=1, initial=0)
                continue
            length = np.linalg.norm(np.float64(truth[:, ends[0], :2]) - truth[:, ends[1], :2], axis=-1)
            scales[name] = np.where(labeled[:, ends].all(axis=1) & (length > 0), length, np.nan)
        person, number = np.nonzero(labeled)
        columns = {"number": number, "distance": distances[labeled], "score": theirs[..., 2][labeled]}
        return columns | {"near": near[labeled]} | {name: scale[person] for name, scale in scales.items()}

    def result(self):
        columns, coco = self._columns(), self._coco()
        return {
            **{f"keypoint_{key}": value for key, value in coco.metrics.items()},
            **{name: float(correct) for name, (correct, _) in columns.items()},
            "calibration_error": self._calibration()[1],
            **{f"box_{key}": value for key, value in self._detection.result().items()},
            **by_class("keypoint_ap", self.names, coco.by_class),
            **{key: v for name, (_, each) in columns.items() for key, v in by_class(name, self.skeleton, each).items()},
        }

    def _coco(self):
        # updates of one image become one image
        numbers, merged = np.array([*self._numbers, 0], np.int32), []
        for rows, parts in zip(self._detection.rows, self._points, strict=True):
            image = numbers[rows.image]
            order = np.argsort(image, kind="stable")
            columns = {field.name: getattr(rows, field.name)[order] for field in dataclasses.fields(rows)}
            merged.append((type(rows)(**columns | {"image": image[order]}), np.concatenate(parts)[order]))
        (targets, truth), (detections, found) = merged
        return coco_keypoint_scores(targets, detections, len(self.names), (truth, found), self.skeleton.sigmas)

    def _all(self):
        """The columns of `_matched` over all images."""
        names = ("number", "distance", "score", "near", "area", *self._scales)
        return {name: np.concatenate([np.zeros(0), *(part[name] for part in self._parts)]) for name in names}

    def _columns(self):
        """{name: (its value over all keypoints, float64 (K,) by keypoint)} of the metrics of single keypoints."""
        rows, count = self._all(), len(self.skeleton)
        number, found = rows["number"].astype(int), np.isfinite(rows["distance"])
        values = {}
        for name, (_, share) in self._scales.items():
            counted = ~np.isnan(rows[name])
            hits = rows["distance"][counted] <= share * rows[name][counted]
            values[name] = number[counted], hits
        values["error_px"] = number[found], rows["distance"][found]
        values["error"] = number[found], rows["distance"][found] / np.maximum(rows["area"][found], 1e-9)
        means = {}
        for name, (which, value) in values.items():
            each = ratio(np.bincount(which, value, count), np.bincount(which, minlength=count))
            means[name] = (value.mean() if len(value) else np.nan), each
        return means

    def _calibration(self):
        """Mean score, share that is near, and count of each bin, float64 (B, 3); and the calibration error."""
        rows = self._all()
        found = np.isfinite(rows["distance"])
        scores, near = np.clip(rows["score"][found], 0, 1), rows["near"][found] >= SIMILAR
        bins = np.minimum((scores * BINS).astype(int), BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        table = np.stack([ratio(np.bincount(bins, x, BINS), counts) for x in (scores, near)] + [counts], axis=1)
        gaps = np.abs(table[:, 0] - table[:, 1])
        return table, float(np.nansum(gaps * counts) / counts.sum()) if counts.sum() else float("nan")

    def charts(self):
        """Precision and recall, each keypoint's share of correct ones and error, and the calibration of scores."""
        figures = {f"box_{key}": figure for key, figure in self._detection.charts().items()}
        table, error = self._calibration()
        if table[:, 2].sum():
            columns = self._columns()
            shown = {name: columns[name][1] for name in (*self._scales, "error")}
            figures["keypoints"] = bars_figure(
                shown, self.skeleton, "keypoints by name; errors are those of matched people"
            )
            title = f"scores of keypoints and how often they are near (OKS ≥ {SIMILAR}), error {error:.3f}"
            figures["calibration"] = calibration_figure(table, title)
        return figures


def labeled_points(sample: Sample) -> np.ndarray:
    """bool (N, K): the labeled keypoints of the objects that count."""
    labeled = sample.keypoints[..., 2] > 0
    return labeled if sample.ignored is None else labeled & ~sample.ignored[:, None]


def areas_of(sample: Sample) -> np.ndarray:
    """float64 (N,): the areas that OKS measures by, in pixels²."""
    if sample.areas is not None:
        return np.float64(sample.areas)
    return FILLED * np.float64(sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1)


def image_oks(sample: Sample, prediction: dict[str, np.ndarray], sigmas: Sequence[float]) -> np.ndarray:
    """float64 (D, N): the OKS of detections with the objects of an image; 0 for another class or no labeled point."""
    alike = oks(prediction["keypoints"], sample.keypoints, areas_of(sample), sigmas, labeled_points(sample))
    return np.where(prediction["classes"][:, None] == sample.classes, alike, 0)


def image_outcomes(
    sample: Sample, prediction: dict[str, np.ndarray], sigmas: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """The outcomes of one image's detections and of its objects, as of `metrics.detection`, but at OKS 0.5.

    An object without a labeled keypoint is not counted, nor is the detection whose box overlaps it most, nor are those
    on an ignored region.
    """
    counted = labeled_points(sample).any(axis=1)
    ignored = np.zeros(len(counted), bool) if sample.ignored is None else sample.ignored
    boxes = {name: prediction[name] for name in ("boxes", "scores", "classes")}

    def by_box(rows, crowd):
        rest = {"keypoints": None, "instance_masks": None, "areas": None, "ignored": np.full(rows.sum(), crowd)}
        some = dataclasses.replace(sample, boxes=sample.boxes[rows], classes=sample.classes[rows], **rest)
        return detection.image_outcomes(some, boxes)[0]

    aside = by_box(ignored, True) == matching.IGNORED
    aside |= by_box(~counted & ~ignored, False) == matching.HIT
    alike = image_oks(sample, prediction, sigmas)
    rows, columns = np.nonzero(alike >= SIMILAR)
    hits = matching.greedy(matching.Pairs(rows, columns, alike[rows, columns]), prediction["scores"])
    outcomes = np.where(aside, matching.IGNORED, matching.MISS).astype(np.int8)
    found = np.where(counted, matching.MISS, matching.IGNORED).astype(np.int8)
    outcomes[hits.detection], found[hits.target] = matching.HIT, matching.HIT
    if sample.known is not None:
        outcomes[~sample.known[prediction["classes"]]] = matching.IGNORED
        found[~sample.known[sample.classes]] = matching.IGNORED
    return outcomes, found
