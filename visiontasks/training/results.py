"""Writes down what an evaluation found: a table, charts and drawn pictures."""

import re
from pathlib import Path

from visiontasks.data.images import write_image
from visiontasks.tasks.drawing import side_by_side
from visiontasks.training.evaluator import Evaluation, evaluate
from visiontasks.training.run_directory import RunDirectory

DRAWN = 12


def write_evaluation(model, loader, tasks: dict, out: Path, console, draw: int = DRAWN) -> Evaluation:
    """Evaluate a model and write `evaluation.json`, charts and `predictions/` to a folder; print the table."""
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("evaluating", total=len(loader.source))
        found = evaluate(model, loader, tasks, draw=draw, on_batch=lambda done: bar.update(task, completed=done))
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
    print_figures(found.figures, console)
    return found


def print_figures(figures: dict[str, float], console, most: int = 40):
    """A table of figures, the overall ones first."""
    from rich.table import Table

    table = Table("metric", "value")
    ordered = sorted(figures, key=lambda key: key.count("/"))
    for key in ordered[:most]:
        table.add_row(key, f"{figures[key]:.4f}")
    console.print(table)
    if len(ordered) > most:
        console.print(f"and {len(ordered) - most} more in evaluation.json", highlight=False)
