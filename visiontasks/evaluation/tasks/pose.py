"""`Pose`: a box, a class and keypoints for each object."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from visiontasks.drawing.boxes import boxed
from visiontasks.drawing.colors import GRAY, color
from visiontasks.drawing.keypoints import side_entries, skeletons
from visiontasks.drawing.maps import field_drawn, heat_drawn
from visiontasks.drawing.panels import captioned
from visiontasks.evaluation.metrics.confusion import ratio
from visiontasks.evaluation.metrics.matching import IGNORED
from visiontasks.evaluation.metrics.pose import Pose as PoseMetric
from visiontasks.evaluation.metrics.pose import image_oks, image_outcomes
from visiontasks.evaluation.tasks.detection import SHOWN_FROM, Detection, styles_of
from visiontasks.inference.assembling import people_of
from visiontasks.inference.keypoint_maps import keypoints_of
from visiontasks.inference.merging_keypoints import merge_keypoints, merge_shown
from visiontasks.inference.shown_maps import of_boxes, of_canvas

SHOWN_POINT = 0.2  # the score from which a keypoint is drawn


class Pose(Detection):
    """Predictions are those of `Detection`, and `keypoints` or `keypoint_maps` of each detection.

    `keypoints` are float32 (K, P, 3), x and y in pixels of the network's canvas and score; `keypoint_maps` (K, S, S,
    P), logits over each box, see visiontasks/inference/keypoint_maps.py. Or they are `peaks` and `limb_scores`, of
    which visiontasks/inference/assembling.py makes people. Restored predictions are {"boxes", "scores", "classes",
    "keypoints": float32 (K, P, 3)} of the valid ones, best first, in the original image's pixels. A score of a keypoint
    in 0..1 is how likely it is near; 0: the keypoint was not found. Where a head has them, `maps` are the Maps to draw,
    see visiontasks/inference/shown_maps.py: of the boxes, or of `heat` and `field` over the canvas.

    In drawings objects of one class have different colors, those of several classes their classes' colors.
    """

    main_metric = "keypoint_ap"
    columns = (*Detection.columns, "keypoints")

    def restore(self, prediction, placement):
        maps = of_canvas(prediction, placement) if "heat" in prediction else None
        if "limb_scores" in prediction:
            prediction = people_of(prediction["peaks"], prediction["limb_scores"], self.skeleton)
        rows, found = self.restored(prediction, placement)
        if "keypoint_maps" in prediction:
            boxes = np.asarray(prediction["boxes"])[rows]
            logits = np.asarray(prediction["keypoint_maps"])[rows]
            points, _ = keypoints_of(logits, boxes, self.skeleton.sigmas)
            drawn = found["scores"] >= SHOWN_FROM
            maps = of_boxes(logits[drawn], placement.restore_boxes(boxes[drawn], clip=False), points[drawn, :, 2])
        else:
            points = np.array(prediction["keypoints"], np.float32)[rows]
        absent = ~points.any(axis=-1) | ~np.isfinite(points).all(axis=-1)  # not finite: of a diverged training
        points[..., :2] = placement.restore_points(points[..., :2])
        points[absent] = 0
        return {**found, "keypoints": points} | ({} if maps is None else {"maps": maps})

    def merge(self, predictions, views):
        """The objects of all views, each once: see `merge_keypoints`, or `merge_shown` for views of one object each."""
        if not views or views[0].shown is not None:
            return self._of_objects(predictions, views)
        parts = [self.restore(one, view.placement) for one, view in zip(predictions, views, strict=True)]
        for part, view in zip(parts, views, strict=True):
            part["boxes"] = view.restore_boxes(part["boxes"])
            absent = ~part["keypoints"].any(axis=-1, keepdims=True)
            part["keypoints"] = np.where(absent, 0, part["keypoints"])
            part["keypoints"] = view.restore_keypoints(part["keypoints"], self.skeleton.partners)
        windows = np.array([(left, top, right, bottom) for top, left, bottom, right in (v.window for v in views)])
        numbers = np.arange(len(views)).repeat([len(part["scores"]) for part in parts])
        columns = (np.concatenate([part[name] for part in parts]) for name in self.columns)
        merged = merge_keypoints(*columns, windows[numbers], numbers, views[0].image_size, self.skeleton.sigmas)
        return dict(zip(self.columns, merged, strict=True)) | self._maps(parts, views)

    def _maps(self, parts, views):
        """{"maps": those of all views that are not mirrored, in the image's pixels}, if there are any."""
        shown = [
            one.moved(*view.window[1::-1])
            for part, view in zip(parts, views, strict=True)
            for one in part.get("maps", ())
            if not view.flipped
        ]
        return {"maps": shown} if all("maps" in part for part in parts) else {}

    def _of_objects(self, predictions, views):
        points = [np.array(one["keypoints"][:1], np.float32) for one in predictions]
        for rows, view in zip(points, views, strict=True):
            rows[..., :2] = view.placement.restore_points(rows[..., :2])
        points = [
            view.restore_keypoints(rows, self.skeleton.partners) for rows, view in zip(points, views, strict=True)
        ]
        merged = merge_shown(points, [view.shown for view in views], self.skeleton)
        pairs = list(zip(predictions, views, strict=True))
        parts = [{"maps": of_canvas(one, view.placement)} if "heat" in one else {} for one, view in pairs]
        return dict(zip(self.columns, merged, strict=True)) | self._maps(parts, views)

    def metric(self):
        return PoseMetric(self.names, self.skeleton)

    def outcomes(self, sample, prediction):
        """By OKS at 0.5; of unlabeled keypoints by boxes."""
        if sample.keypoints is None:
            return super().outcomes(sample, prediction)
        return image_outcomes(sample, prediction, self.skeleton.sigmas)

    def image_score(self, sample, prediction):
        """How like the detections that are drawn are to the objects; NaN where there is nothing to count.

        Twice the sum of the OKS of detections with their objects, one to one, by the number of both: F1 if each OKS is
        0 or 1.
        """
        if sample.boxes is None or sample.classes is None or sample.keypoints is None:
            return super().image_score(sample, prediction)
        drawn = prediction["scores"] >= SHOWN_FROM
        shown = {name: prediction[name][drawn] for name in self.columns}
        (outcomes, found), alike = self.outcomes(sample, shown), image_oks(sample, shown, self.skeleton.sigmas)
        similar = np.where((outcomes != IGNORED)[:, None] & (found != IGNORED), alike, 0)
        matched = similar[linear_sum_assignment(-similar)].sum()
        return float(ratio(2 * matched, (outcomes != IGNORED).sum() + (found != IGNORED).sum()))

    def draw_truth(self, image, sample, found=None):
        if sample.boxes is None or sample.classes is None or sample.keypoints is None:
            return super().draw_truth(image, sample, found)
        ignored = np.zeros(len(sample.boxes), bool) if sample.ignored is None else sample.ignored
        order = np.argsort((sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1), kind="stable")
        inks = [GRAY if ignored[i] else self._ink(i, sample.classes[i]) for i in order]
        drawn = self.below(image, sample.instance_masks, order, sample.classes)
        drawn = skeletons(image, sample.keypoints[order], self.skeleton, inks, drawn)
        styles = styles_of(found, self.object_styles, len(order))
        marks = [
            self._mark(sample.boxes[i], sample.classes[i], style=styles[i], ignored=ignored[i], ink=ink)
            for i, ink in zip(order, inks, strict=True)
        ]
        entries = [*self._truth_entries(sample.classes, ignored, found), *side_entries(self.skeleton)]
        return captioned(boxed(image, marks, drawn), entries)

    def draw_prediction(self, image, prediction, outcomes=None):
        shown, entries = self._shown(prediction, outcomes)
        boxes, scores, classes, points = (prediction[name] for name in Pose.columns)
        points = points.copy()
        points[..., 2] = np.where(points[..., 2] >= SHOWN_POINT, 2, 0)
        inks = [self._ink(rank, classes[i]) for rank, i in enumerate(shown)]
        drawn = self.below(image, prediction.get("masks"), shown, classes)
        drawn = skeletons(image, points[shown], self.skeleton, inks, drawn)
        styles = styles_of(outcomes, self.detection_styles, len(scores))
        marks = [
            self._mark(boxes[i], classes[i], scores[i], styles[i], styles[i] == "gray", ink=ink)
            for i, ink in zip(shown, inks, strict=True)
        ]
        return captioned(boxed(image, marks, drawn), [*entries, *side_entries(self.skeleton)])

    def draw_maps(self, image, prediction):
        """[(title, drawing)] of the heat maps and affinity fields that the keypoints were read from.

        A head that has them has a drawing for every image, so that those of a video are of one size.
        """
        if "maps" not in prediction:
            return []
        maps = prediction["maps"]
        windows = [one.window for one in maps]
        drawn = [("heat maps", heat_drawn(image, [one.heat for one in maps], windows))]
        if maps and maps[0].field is not None:
            drawn.append(("affinity fields", field_drawn(image, [one.field for one in maps], windows)))
        return drawn

    def draw_comparison(self, image, sample, prediction):
        return [*super().draw_comparison(image, sample, prediction), *self.draw_maps(image, prediction)]

    def below(self, image, masks, order, classes):
        """What lies below the skeletons of these objects: the fitted image, or None for the plain one."""
        return None

    def _ink(self, number, kind):
        return color(int(kind if len(self.names) > 1 else number))

    def _swatch(self, number):
        return self._color(number) if len(self.names) > 1 else None

    def to_json(self, prediction):
        """As `Detection`'s list, each with "keypoints": {name: [x, y, score]}, without those that were not found."""
        objects = super().to_json(prediction)
        order = np.argsort(-prediction["scores"], kind="stable")
        for entry, points in zip(objects, prediction["keypoints"][order].tolist(), strict=True):
            entry["keypoints"] = {
                name: [round(x, 2), round(y, 2), float(f"{score:.4g}")]
                for name, (x, y, score) in zip(self.skeleton, points, strict=True)
                if score > 0
            }
        return objects
