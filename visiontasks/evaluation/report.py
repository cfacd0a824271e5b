"""Writes the results of an evaluation: a table, charts and drawn images."""

import contextlib
import re
from pathlib import Path

from visiontasks.data.images import write_image
from visiontasks.drawing.charts import write_chart
from visiontasks.drawing.panels import side_by_side
from visiontasks.evaluation.evaluator import Evaluation, evaluate, panels
from visiontasks.evaluation.metrics_table import print_metrics
from visiontasks.evaluation.results import Records, file_part, shortened, write_json
from visiontasks.signals import Stop
from visiontasks.writing import LONGEST, make_folder

DRAWN = 12
# of this version and of those before it, which drew the first images
_DRAWINGS = re.compile(r"(worst|best|random)_\d\d+_.*\.jpg|\d\d_.*\.png")


def write_evaluation(
    model,
    loader,
    tasks: dict,
    out: Path,
    console,
    draw: int = DRAWN,
    losses: bool = False,
    predictor=None,
    argument: str = "out",
    stop: Stop | None = None,
    batches=None,
) -> Evaluation:
    """Evaluate a model and write `evaluation.json`, charts and `predictions/` to a folder; print the table.

    For COCO's data also write the predicted boxes as COCO's tools read them: `coco_results.json`, or with several heads
    `HEAD_coco_results.json`.

    An evaluation that is stopped, or fails, leaves the files of an earlier one as they are.

    Args:
        model: a VisionModel.
        loader: a Loader.
        tasks: {head name: Task}.
        out: an existing folder.
        console: rich's Console.
        draw: how many images to draw: a third each of the worst, of the best, and of random ones.
        losses: whether to compute the losses too, unused: the function of training's validation is then used again.
        predictor, batches: as for `evaluate`.
        argument: what chose the folder, for errors.
        stop: what may end it after each image, besides signals.

    Raises:
        Stopped: a signal, or `stop`, has asked.
        UserError: the disk is full or not writable.
    """
    with (stop or Stop()).after_steps() as stop:
        evaluation = _evaluated(model, loader, tasks, out, console, draw, losses, predictor, argument, stop, batches)
        _write(evaluation, tasks, out, argument)
    print_metrics(evaluation.metrics, tasks, console)
    return evaluation


def _evaluated(model, loader, tasks, out, console, draw, losses, predictor, argument, stop, batches) -> Evaluation:
    """The Evaluation; results for COCO's tools are written once it is complete."""
    from rich.progress import Progress

    with contextlib.ExitStack() as open_files:
        bar = open_files.enter_context(Progress(console=console, transient=True))
        progress, files = bar.add_task("evaluating", total=len(loader.source)), {}

        def write_results(sample, prediction):
            for name, task in tasks.items():
                results = task.results(prediction[name], sample.of(task.label_set), loader.source)
                if results is None:
                    continue
                if name not in files:
                    path = out / f"{_prefix(name, tasks)}coco_results.json"
                    files[name] = open_files.enter_context(Records(path, argument=argument))
                for result in results:
                    files[name].add(result)

        def on_image(done):
            stop.check()
            bar.update(progress, completed=done)

        evaluation = evaluate(
            model,
            loader,
            tasks,
            draw,
            on_batch=on_image,
            on_prediction=write_results,
            losses=losses,
            predictor=predictor,
            batches=batches,
        )
    for old in {*out.glob("*coco_results.json")} - {records.path for records in files.values()}:
        old.unlink(missing_ok=True)  # of an earlier evaluation, on other data
    return evaluation


def _write(evaluation, tasks, out, argument):
    """Write metrics, charts and drawings, in a second or two."""
    write_json(out / "evaluation.json", evaluation.metrics, argument)
    for name, charts in evaluation.charts.items():
        for stem, chart in charts.items():
            write_chart(out / f"{_prefix(name, tasks)}{stem}.png", chart, argument)
    make_folder(out / "predictions", argument)
    for old in (out / "predictions").iterdir():
        if _DRAWINGS.fullmatch(old.name):  # of an earlier evaluation, on other data
            old.unlink(missing_ok=True)
    for number, example in enumerate(evaluation.examples):
        sample = example.sample
        titles, images = zip(*panels(tasks, sample, example.prediction), strict=True)
        stem = re.sub(r"[^\w.-]+", "_", Path(sample.id or sample.path or str(number)).stem)
        # JPEG: a photograph as PNG is five to ten times as large
        stem = shortened(f"{example.name}_{stem}", LONGEST - len(".jpg"))
        write_image(out / "predictions" / f"{stem}.jpg", side_by_side(images, titles), argument)


def _prefix(name, tasks):
    return f"{file_part(name)}_" if len(tasks) > 1 else ""
