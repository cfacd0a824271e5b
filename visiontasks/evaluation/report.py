"""Writes the results of an evaluation: a table, charts and drawn images."""

import contextlib
import re
from pathlib import Path

from visiontasks.data.images import write_image
from visiontasks.drawing.panels import side_by_side
from visiontasks.evaluation.evaluator import Evaluation, evaluate, panels
from visiontasks.evaluation.metrics_table import print_metrics
from visiontasks.evaluation.results import LONGEST, Records, file_part, shortened, write_json

DRAWN = 12
# of this version and of those before it, which drew the first images
_DRAWINGS = re.compile(r"(worst|best|random)_\d\d+_.*\.jpg|\d\d_.*\.png")


def write_evaluation(
    model, loader, tasks: dict, out: Path, console, draw: int = DRAWN, losses=False, predictor=None
) -> Evaluation:
    """Evaluate a model and write `evaluation.json`, charts and `predictions/` to a folder; print the table.

    For COCO's data also write the predicted boxes as COCO's tools read them: `coco_results.json`, or with several heads
    `HEAD_coco_results.json`.

    Args:
        model: a VisionModel.
        loader: a Loader.
        tasks: {head name: Task}.
        out: an existing folder.
        console: rich's Console.
        draw: how many images to draw: a third each of the worst, of the best, and of random ones.
        losses: whether to compute the losses too, unused: the function of training's validation is then used again.
        predictor: as for `evaluate`.
    """
    from rich.progress import Progress

    for old in out.glob("*coco_results.json"):  # of an earlier evaluation, on other data
        old.unlink()
    with contextlib.ExitStack() as open_files:
        bar = open_files.enter_context(Progress(console=console, transient=True))
        progress, files = bar.add_task("evaluating", total=len(loader.source)), {}

        def write_results(sample, prediction):
            for name, task in tasks.items():
                results = task.results(prediction[name], sample.of(task.label_set), loader.source)
                if results is None:
                    continue
                if name not in files:
                    files[name] = open_files.enter_context(Records(out / f"{_prefix(name, tasks)}coco_results.json"))
                for result in results:
                    files[name].add(result)

        evaluation = evaluate(
            model,
            loader,
            tasks,
            draw,
            on_batch=lambda done: bar.update(progress, completed=done),
            on_prediction=write_results,
            losses=losses,
            predictor=predictor,
        )
    write_json(out / "evaluation.json", evaluation.metrics)
    for name, charts in evaluation.charts.items():
        for stem, chart in charts.items():
            chart.savefig(out / f"{_prefix(name, tasks)}{stem}.png", dpi=100)
    (out / "predictions").mkdir(exist_ok=True)
    for old in (out / "predictions").iterdir():
        if _DRAWINGS.fullmatch(old.name):  # of an earlier evaluation, on other data
            old.unlink()
    for number, example in enumerate(evaluation.examples):
        sample = example.sample
        titles, images = zip(*panels(tasks, sample, example.prediction), strict=True)
        stem = re.sub(r"[^\w.-]+", "_", Path(sample.id or sample.path or str(number)).stem)
        # JPEG: a photograph as PNG is five to ten times as large
        stem = shortened(f"{example.name}_{stem}", LONGEST - len(".jpg"))
        write_image(out / "predictions" / f"{stem}.jpg", side_by_side(images, titles))
    print_metrics(evaluation.metrics, tasks, console)
    return evaluation


def _prefix(name, tasks):
    return f"{file_part(name)}_" if len(tasks) > 1 else ""
