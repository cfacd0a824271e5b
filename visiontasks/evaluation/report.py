"""Writes down what an evaluation found: a table, charts and drawn pictures."""

import contextlib
import re
from pathlib import Path

from visiontasks.data.images import write_image
from visiontasks.drawing.panels import side_by_side
from visiontasks.evaluation.evaluator import Evaluation, evaluate
from visiontasks.evaluation.metrics_table import print_metrics
from visiontasks.evaluation.records import Records
from visiontasks.evaluation.tasks.detection import Detection
from visiontasks.training.run_directory import RunDirectory

DRAWN = 12


def write_evaluation(model, loader, tasks: dict, out: Path, console, draw: int = DRAWN) -> Evaluation:
    """Evaluate a model and write `evaluation.json`, charts and `predictions/` to a folder; print the table.

    Where the data are COCO's, also what a detector found, as COCO's tools take it: `coco_results.json`, with several
    heads `HEAD_coco_results.json`.
    """
    from rich.progress import Progress

    for old in out.glob("*coco_results.json"):  # of an evaluation before, on other data
        old.unlink()
    with contextlib.ExitStack() as open_files:
        bar = open_files.enter_context(Progress(console=console, transient=True))
        progress, files = bar.add_task("evaluating", total=len(loader.source)), {}

        def note(sample, restored):
            for name in (name for name, task in tasks.items() if isinstance(task, Detection)):
                results = loader.source.results(sample, restored[name])
                if results is None:
                    continue
                if name not in files:
                    file = Records(out / f"{f'{name}_' if len(tasks) > 1 else ''}coco_results.json")
                    files[name] = open_files.enter_context(file)
                for result in results:
                    files[name].add(result)

        found = evaluate(
            model, loader, tasks, draw, on_batch=lambda done: bar.update(progress, completed=done), on_answer=note
        )
    run = RunDirectory(out)
    run.write_json("evaluation.json", found.figures)
    for stem, figure in found.charts.items():
        figure.savefig(out / f"{stem}.png", dpi=100)
    (out / "predictions").mkdir(exist_ok=True)
    for old in (out / "predictions").glob("[0-9][0-9]_*.png"):  # of an evaluation before, on other data
        old.unlink()
    for number, (name, panels) in enumerate(found.drawings):
        titles, pictures = zip(*panels, strict=True)
        stem = re.sub(r"[^\w.-]+", "_", Path(name).stem)
        write_image(out / "predictions" / f"{number:02d}_{stem}.png", side_by_side(pictures, titles))
    print_metrics(found.figures, tasks, console)
    return found
