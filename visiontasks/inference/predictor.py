"""`Predictor`: images of any size in, predictions in their own pixels out."""

import collections
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from visiontasks.arguments import Count, Share, checked
from visiontasks.data.images import read_image
from visiontasks.errors import UserError
from visiontasks.geometry import Placement
from visiontasks.inference.prediction import Prediction
from visiontasks.inference.views import views
from visiontasks.preprocess import Preprocess
from visiontasks.registry.catalog import tasks_of
from visiontasks.sample import Sample

BATCH, OVERLAP = 8, 0.2


class Predictor:
    """Predicts for images of any size with a VisionModel: `predictor("photo.jpg").draw()`.

    Args:
        model: a VisionModel. The first prediction, and the first after further training, takes a second or two longer:
            a copy is made whose batch normalizations are folded into its convolutions.
        preprocess: how images are resized to the network's canvas; by default as in training.

    Raises:
        ValueError: the model has no size (see `Preprocess.of`).
    """

    def __init__(self, model, preprocess: Preprocess | None = None):
        from visiontasks.model_folding import Folding  # imports Keras

        self.model, self.tasks = model, tasks_of(model)
        self._folding = Folding(model)
        self.preprocess = preprocess or Preprocess.of(model)

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
        if isinstance(images, (list, tuple)):
            return list(self.stream(map(_sample, images), **options))
        return next(self.stream([_sample(images)], **options))

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
        return self._stream(samples, batch, lambda size: views(size, self.preprocess, tile, overlap, flip))

    def _stream(self, samples, batch, views_of):
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

        for sample in samples:
            parts, predictions = views_of(sample.image.shape[:2]), []
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
        if len(parts) == 1:
            return restored(self.tasks, predictions[0], parts[0].placement)
        return {name: task.merge([one[name] for one in predictions], parts) for name, task in self.tasks.items()}

    def check_merging(self, tile: int | None, flip: bool):
        """Raise if tiles or mirrored views are asked for and a head's predictions cannot be merged.

        Raises:
            UserError: naming the option and the head.
        """
        for name, task in self.tasks.items():
            if tile is not None and task.whole_image:
                raise UserError(f"head {name!r} predicts for the whole image, which a tile does not show.", "tile")
            if (tile is not None or flip) and not task.mergeable:
                key = "flip" if tile is None else "tile"
                raise UserError(f"several predictions of head {name!r} cannot be merged; leave it out.", key)


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


def _sample(image) -> Sample:
    if isinstance(image, (str, os.PathLike)):
        return Sample(read_image(image), path=str(image))
    return Sample(np.asarray(image))
