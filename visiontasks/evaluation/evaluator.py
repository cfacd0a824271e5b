"""Scores a model over a whole data set in original pixels, and draws some of its pictures."""

import dataclasses

import numpy as np

from visiontasks.drawing.panels import captioned


@dataclasses.dataclass
class Evaluation:
    """What an evaluation found.

    Attributes:
        figures: {metric: value}; with several heads {"HEAD/metric": value}; a class's own figure is "iou/NAME".
        score: the mean of the heads' main metrics: what the best checkpoint is chosen by.
        charts: {file stem: matplotlib Figure}, such as confusion matrices.
        drawings: [(name of the picture, [panels])]: the picture, then truth and prediction of each head.
    """

    figures: dict[str, float]
    score: float
    charts: dict[str, object]
    drawings: list


def evaluate(model, loader, tasks: dict, draw: int = 0, on_batch=None, on_answer=None) -> Evaluation:
    """Predict every picture of a loader, bring the answers back to its own pixels, score and draw them.

    Args:
        model: a VisionModel.
        loader: gives (batch, [Sample]) by `with_samples()` and a Placement by `placement(sample)`.
        tasks: {head name: Task}.
        draw: how many pictures to draw.
        on_batch: called with the number of pictures done after each batch.
        on_answer: called with each sample and {head name: its restored prediction}.
    """
    metrics = {name: task.metric() for name, task in tasks.items()}
    drawings, done = [], 0
    for batch, samples in loader.with_samples():
        outputs = model.by_head(model.predict_on_batch(batch["image"]))
        # the last batch is filled up to the fixed size: rows beyond the samples are padding
        for row, sample in enumerate(samples):
            placement = loader.placement(sample)
            restored = {}
            for name, task in tasks.items():
                one = {key: np.asarray(value[row]) for key, value in outputs[name].items()}
                restored[name] = task.restore(one, placement)
                metrics[name].update(sample, restored[name])
            if on_answer:
                on_answer(sample, restored)
            if len(drawings) < draw:
                drawings.append((sample.id or sample.path or str(len(drawings)), panels(tasks, sample, restored)))
        done += len(samples)
        if on_batch:
            on_batch(done)
    figures, charts, mains = {}, {}, []
    for name, task in tasks.items():
        prefix = f"{name}/" if len(tasks) > 1 else ""
        result = metrics[name].result()
        figures |= {prefix + key: float(value) for key, value in result.items()}
        charts |= {prefix.replace("/", "_") + key: chart for key, chart in metrics[name].figures().items()}
        mains.append(result[task.main_metric])
    score = float(np.nanmean(mains)) if not np.isnan(mains).all() else float("nan")
    return Evaluation(figures, score, charts, drawings)


def panels(tasks: dict, sample, restored: dict) -> list:
    """[(title, picture)]: the sample as it is, then each head's truth and prediction drawn on it."""
    drawn = [("picture", captioned(sample.image))]
    for name, task in tasks.items():
        prefix = f"{name}: " if len(tasks) > 1 else ""
        drawn.append((f"{prefix}truth", task.draw_truth(sample.image, sample)))
        drawn.append((f"{prefix}prediction", task.draw_prediction(sample.image, restored[name])))
    return drawn
