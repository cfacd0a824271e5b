"""`Predictor`: images of any size in, predictions in their own pixels out."""

import collections
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from visiontasks.arguments import Count, Share, checked
from visiontasks.data.bit_depth import find_bits
from visiontasks.data.images import read_image
from visiontasks.errors import UserError
from visiontasks.geometry import Placement
from visiontasks.inference.prediction import Prediction
from visiontasks.inference.views import mirrored_views, object_views, views
from visiontasks.preprocess import Preprocess, check_canvas
from visiontasks.registry.catalog import tasks_of
from visiontasks.sample import Sample

BATCH, OVERLAP = 8, 0.2
DETECTED = 0.3  # the score from which a detector's object is looked at


class Predictor:
    """Predicts for images of any size with a VisionModel: `predictor("photo.jpg").draw()`.

    Args:
        model: a VisionModel. The first prediction, and the first after further training, takes a second or two longer:
            a copy is made whose batch normalizations are folded into its convolutions.
        preprocess: how images are resized to the network's canvas; by default as in training.
        detector: a Predictor of a model that detects objects, for a model that looks at one object an image, such as
            `pose_heatmap`; without one, the whole image is one object.

    Raises:
        ValueError: the model has no size (see `Preprocess.of`).
        UserError: the detector detects none of the model's classes, or the model takes none; or the network was made
            for another size.
    """

    def __init__(self, model, preprocess: Preprocess | None = None, detector: "Predictor | None" = None):
        from visiontasks.model_folding import Folding  # imports Keras

        self.model, self.tasks = model, tasks_of(model)
        self._folding = Folding(model)
        self.preprocess = preprocess or Preprocess.of(model)
        check_canvas(model, self.preprocess.size, "preprocess")
        self._detect = None if detector is None else Detector(detector, self)

    def __call__(
        self,
        images: np.ndarray | str | os.PathLike | Sequence,
        *,
        batch: int = BATCH,
        tile: int | None = None,
        overlap: float = OVERLAP,
        flip: bool = False,
    ) -> Prediction | list[Prediction]:
        """The Prediction of an image, or a list of them for several.

        Args:
            images: an image, uint8 (H, W, 3) RGB, or the path of one; or a list of these.
            batch: views per batch.
            tile: divide larger images into tiles of this many pixels, and merge the tiles' predictions.
            overlap: the share of a tile that its neighbor shows too, from 0 to below 1.
            flip: also predict for the mirrored image, and merge both predictions.

        Raises:
            UserError: an option is out of bounds, or the predictions of a head cannot be merged.
            BadImage: a file cannot be read.
            ValueError: an image is not uint8 (H, W, 3).
        """
        options = dict(batch=batch, tile=tile, overlap=overlap, flip=flip)
        several = images if isinstance(images, (list, tuple)) else [images]
        bits = self.preprocess.bits or find_bits(one for one in several if _is_path(one))
        predictions = self.stream((_sample(one, bits) for one in several), **options)
        return list(predictions) if several is images else next(predictions)

    def stream(
        self,
        samples: Iterable[Sample],
        batch: int = BATCH,
        tile: int | None = None,
        overlap: float = OVERLAP,
        flip: bool = False,
    ) -> Iterator[Prediction]:
        """The Prediction of each Sample, in order, for any number of samples: only one batch is in memory.

        Options and errors are those of a call. The last batch is padded with black views.
        """
        check_options(batch, tile, overlap)
        self.check_merging(tile, flip)
        if self._detect is not None:
            shown = self._detect(samples, batch=batch, tile=tile, overlap=overlap)
            seen = ((one, object_views(one.image.shape[:2], self.preprocess, found, flip)) for one, found in shown)
        elif flip and self.preprocess.resize == "object":
            seen = ((sample, mirrored_views(sample.image.shape[:2], self.preprocess)) for sample in samples)
        else:
            seen = ((sample, views(sample.image.shape[:2], self.preprocess, tile, overlap, flip)) for sample in samples)
        return self._stream(seen, batch)

    def _stream(self, seen, batch):
        waiting, canvases, full, network = collections.deque(), [], False, self._folding()

        def run():
            images = np.stack([canvas for _, canvas in canvases])
            if full:  # the network is compiled for one shape
                images = np.concatenate([images, np.zeros((batch - len(images), *images.shape[1:]), np.uint8)])
            outputs = self.model.by_head(network.predict_on_batch(images))
            for row, (predictions, _) in enumerate(canvases):
                predictions.append(row_of(outputs, row))
            canvases.clear()

        def finished():
            while waiting and len(waiting[0][1]) == len(waiting[0][2]):
                sample, parts, predictions = waiting.popleft()
                yield Prediction(sample, self.tasks, self._merged(predictions, parts))

        for sample, parts in seen:
            predictions = []
            waiting.append((sample, parts, predictions))
            for part in parts:
                canvases.append((predictions, part.canvas(sample.image)))
                if len(canvases) == batch:
                    full = True
                    run()
            yield from finished()
        if canvases:
            run()
        yield from finished()

    def _merged(self, predictions, parts):
        if len(parts) == 1 and parts[0].shown is None:
            return restored(self.tasks, predictions[0], parts[0].placement)
        return {name: task.merge([one[name] for one in predictions], parts) for name, task in self.tasks.items()}

    def check_merging(self, tile: int | None, flip: bool):
        """Raise if tiles or mirrored views are asked for and a head's predictions cannot be merged.

        Raises:
            UserError: naming the option and the head.
        """
        if tile is not None and self.preprocess.resize == "object" and self._detect is None:
            raise UserError("the model looks at one object, which a tile does not show; give a detector.", "tile")
        for name, task in self.tasks.items():
            if tile is not None and task.whole_image:
                raise UserError(f"head {name!r} predicts for the whole image, which a tile does not show.", "tile")
            if flip and task.skeleton is not None and task.skeleton.partners is None:
                raise UserError(
                    f"head {name!r} has keypoints of which left and right are not known: {', '.join(task.skeleton)}; "
                    "leave it out, or train with a skeleton that has pairs.",
                    "flip",
                )
            if (tile is not None or flip) and not task.mergeable:
                key = "flip" if tile is None else "tile"
                raise UserError(f"several predictions of head {name!r} cannot be merged; leave it out.", key)


class Detector:
    """Finds the objects that another model then looks at one by one.

    Args:
        predictor: of a model with a head that predicts boxes.
        user: the Predictor that looks at the objects.

    Raises:
        UserError: as `Predictor`.
    """

    def __init__(self, predictor: Predictor, user: Predictor):
        if user.preprocess.resize != "object":
            raise UserError("expected none, because this model finds the objects itself; leave it out.", "detector")
        heads = [name for name, head in predictor.model.heads.items() if "boxes" in head.fields and not head.alone]
        if not heads:
            raise UserError(f"expected a model that predicts boxes, got {', '.join(predictor.tasks)}.", "detector")
        self.predictor, self.head = predictor, heads[0]
        (head,) = user.model.heads.values()
        given = predictor.tasks[self.head].names
        known = head.classes
        if head.numbered or predictor.model.heads[self.head].numbered:  # only the numbers count
            known = given[: len(known)]
        self.kinds = {given.index(name): number for number, name in enumerate(known) if name in given}
        if not self.kinds:
            raise UserError(f"expected one that detects {', '.join(known)}, got {', '.join(given[:60])}.", "detector")

    def __call__(self, samples: Iterable[Sample], **options) -> Iterator[tuple[Sample, dict[str, np.ndarray]]]:
        """Each Sample with the `boxes`, `scores` and `classes` of its objects with a score of 0.3 and above."""
        for prediction in self.predictor.stream(samples, **options):
            found = prediction[self.head]
            kept = (found["scores"] >= DETECTED) & np.isin(found["classes"], list(self.kinds))
            kinds = np.array([self.kinds[kind] for kind in found["classes"][kept].tolist()], np.int32)
            yield prediction.sample, {"boxes": found["boxes"][kept], "scores": found["scores"][kept], "classes": kinds}


@checked
def check_options(batch: Count, tile: Count | None, overlap: Share):
    """Raise unless the options of a Predictor are within their bounds.

    Raises:
        UserError: one is not; the text names it.
    """


def row_of(outputs: dict[str, dict], row: int) -> dict[str, dict[str, np.ndarray]]:
    """One image's {head name: prediction} from a batch's."""
    return {name: {key: np.asarray(value[row]) for key, value in one.items()} for name, one in outputs.items()}


def restored(tasks: dict, prediction: dict[str, dict], placement: Placement) -> dict[str, dict]:
    """{head name: prediction in original pixels} of one image, which `placement` has put on the network's canvas."""
    return {name: task.restore(prediction[name], placement) for name, task in tasks.items()}


def _is_path(image) -> bool:
    return isinstance(image, (str, os.PathLike))


def _sample(image, bits) -> Sample:
    if _is_path(image):
        return Sample(read_image(image, bits=bits), path=str(image))
    return Sample(np.asarray(image))
