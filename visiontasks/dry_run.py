"""What `train dry_run=true` shows of a training that does not begin."""

import tempfile
from pathlib import Path

from visiontasks.data.batch import row_of
from visiontasks.data.images import write_image
from visiontasks.drawing.panels import captioned, grid, side_by_side
from visiontasks.recipe.schema import Recipe, recipe_paths
from visiontasks.registry.catalog import tasks_of
from visiontasks.step_memory import step_memory
from visiontasks.training.reporter import Reporter


def show(model, recipe: Recipe, loader, reporter: Reporter, policy: str):
    """Print the resolved recipe, the shapes and the memory of a step, and draw one augmented batch with its labels."""
    with recipe_paths():
        batch, tasks = next(iter(loader)), tasks_of(model, loader.fields)
    reporter.line(recipe.to_yaml())
    reporter.model(model, recipe.backbone["name"])
    reporter.step(step_memory(model, recipe, loader), policy, batch)
    cells = []
    for row in range(len(batch["image"])):
        sample = row_of(batch, row)
        drawn = (task.draw_truth(sample.image, sample.of(task.label_set)) for task in tasks.values())
        panels = [captioned(sample.image), *drawn]
        cells.append(side_by_side(panels, ["as trained on", *tasks]))
    drawn = Path(tempfile.mkdtemp(prefix="visiontasks_")) / "batch.png"
    write_image(drawn, grid(cells))
    reporter.line(f"one augmented batch with its labels: {drawn}")
