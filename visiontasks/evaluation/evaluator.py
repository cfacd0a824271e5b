"""Scores a model over a whole data set in original pixels, and chooses images to draw."""

import dataclasses

from visiontasks.drawing.panels import captioned
from visiontasks.evaluation.examples import Example, Examples
from visiontasks.evaluation.metrics.confusion import mean_of_defined
from visiontasks.inference.predictor import restored, row_of
from visiontasks.model_arrays import check_names
from visiontasks.preprocess import check_canvas
from visiontasks.registry.catalog import tasks_of


@dataclasses.dataclass
class Evaluation:
    """The result of an evaluation.

    Attributes:
        metrics: {metric: value}; with several heads {"HEAD/metric": value}; a class's own value is "iou/NAME".
        score: the mean of the heads' main metrics, which selects the best checkpoint.
        charts: {head name: {file stem: matplotlib Figure}}, such as confusion matrices.
        examples: images to draw, with their predictions.
        losses: {"loss": …, term: …}, if asked for.
    """

    metrics: dict[str, float]
    score: float
    charts: dict[str, dict[str, object]]
    examples: list[Example]
    losses: dict[str, float]


def evaluate(
    model,
    loader,
    tasks: dict,
    draw: int = 0,
    on_batch=None,
    on_prediction=None,
    losses: bool = False,
    predictor=None,
    batches=None,
) -> Evaluation:
    """Predict the images of a loader, score the predictions in original pixels, and choose some to draw.

    Args:
        model: a VisionModel.
        loader: a Loader.
        tasks: {head name: Task}.
        draw: how many images to choose: the worst, the best, and random ones, by `Task.image_score`.
        on_batch: called after each image with the number of images done.
        on_prediction: called with each sample and {head name: its restored prediction}.
        losses: whether to compute the losses, from the same forward passes.
        predictor: a Predictor of the model with a detector, which then gives the boxes of the loader's images.
        batches: instead of the model's own forward passes, (samples, what `validate_on_batch` returns) of each batch.

    Raises:
        UserError: the loader's images are not of the size that the network was made for.
    """
    check_canvas(model, loader.size, "loader")
    metrics = {name: task.metric() for name, task in tasks.items()}
    sums, examples = {}, Examples(min(draw, len(loader.source)))
    pairs = _of_batches(model, loader, tasks, batches or _forward(model, loader, losses), sums)
    if predictor is not None:
        images = (sample for _, samples in loader.of_images().with_samples() for sample in samples)
        pairs = ((prediction.sample, dict(prediction)) for prediction in predictor.stream(images))
    for done, (sample, prediction) in enumerate(pairs, start=1):
        for name, metric in metrics.items():
            metric.update(sample.of(tasks[name].label_set), prediction[name])
        if on_prediction:
            on_prediction(sample, prediction)
        if draw:
            examples.offer(_image_score(tasks, sample, prediction), sample, prediction)
        if on_batch:
            on_batch(done)
    values, charts, mains = {}, {}, []
    for name, task in tasks.items():
        prefix = f"{name}/" if len(tasks) > 1 else ""
        result = metrics[name].result()
        values |= {prefix + key: float(value) for key, value in result.items()}
        charts[name] = metrics[name].charts()
        mains.append(result[task.main_metric])
    return Evaluation(
        values, mean_of_defined(mains), charts, examples.chosen(), model.mean_losses(sums) if sums else {}
    )


def _forward(model, loader, losses):
    """(samples, predictions, {loss term: its total and count}) of each batch."""
    for batch, samples in loader.with_samples():
        yield samples, *(model.validate_on_batch(batch) if losses else (model.predict_on_batch(batch["image"]), {}))


def _of_batches(model, loader, tasks, batches, sums):
    """(sample, {head name: its restored prediction}) of each sample; losses are added to `sums`."""
    for samples, outputs, of_batch in batches:
        sums |= {label: sums.get(label, 0) + pair for label, pair in of_batch.items()}
        outputs = model.by_head(outputs)
        # the last batch is padded: it may have more rows than samples
        for row, sample in enumerate(samples):
            yield sample, restored(tasks, row_of(outputs, row), loader.placement(sample))


def score(model, loader) -> dict[str, float]:
    """A VisionModel's metrics on a Loader, as in `python -m visiontasks.evaluate`.

    Computed in the images' original pixels: pycocotools' AP for boxes, IoU for masks, and so on.

    Returns:
        {metric: value}; with several heads {"HEAD/metric": value}; a class's own value is such as "ap/NAME".

    Raises:
        DataError: the loader's classes or their order differ from a head's. (For a head with a number of classes only
            the number counts.)
    """
    check_names(model.heads.values(), loader)
    return evaluate(model, loader, tasks_of(model, loader.fields)).metrics


def _image_score(tasks, sample, prediction) -> float:
    """The mean of the heads' own; NaN if no head has one."""
    return mean_of_defined(
        [task.image_score(sample.of(task.label_set), prediction[name]) for name, task in tasks.items()]
    )


def panels(tasks: dict, sample, prediction: dict) -> list:
    """[(title, image)]: the sample as it is, then each head's ground truth and prediction drawn on it."""
    drawn = [("image", captioned(sample.image))]
    for name, task in tasks.items():
        prefix = f"{name}: " if len(tasks) > 1 else ""
        panels = task.draw_comparison(sample.image, sample.of(task.label_set), prediction[name])
        drawn += [(prefix + title, panel) for title, panel in panels]
    return drawn
