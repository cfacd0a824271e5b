"""What `train dry_run=true` shows of a training that does not begin."""

import dataclasses
import math
import tempfile
from pathlib import Path

from visiontasks import build
from visiontasks.data.batch import row_of
from visiontasks.data.images import write_image
from visiontasks.drawing.panels import captioned, grid, side_by_side
from visiontasks.recipe.schema import Recipe, recipe_paths
from visiontasks.registry.catalog import tasks_of
from visiontasks.training.estimate import step_bytes
from visiontasks.training.reporter import Reporter


def show(model, recipe: Recipe, loader, reporter: Reporter, policy: str):
    """Print the resolved recipe, the shapes and the memory of a step, and draw one augmented batch with its labels."""
    measured = model
    if recipe.data.sizes:  # activations can be counted for one size only: the largest
        largest = max(recipe.data.sizes, key=math.prod)
        fixed = dataclasses.replace(recipe.data, size=largest, sizes=[])
        measured = build.model(recipe.replace(data=fixed), loader)
    with recipe_paths():
        batch, tasks = next(iter(loader)), tasks_of(model, loader.fields)
    reporter.line(recipe.to_yaml())
    reporter.model(model, recipe.backbone["name"])
    reporter.step(step_bytes(measured, recipe.data.batch), policy, batch)
    cells = []
    for row in range(len(batch["image"])):
        sample = row_of(batch, row)
        drawn = (task.draw_truth(sample.image, sample.of(task.label_set)) for task in tasks.values())
        panels = [captioned(sample.image), *drawn]
        cells.append(side_by_side(panels, ["as trained on", *tasks]))
    drawn = Path(tempfile.mkdtemp(prefix="visiontasks_")) / "batch.png"
    write_image(drawn, grid(cells))
    reporter.line(f"one augmented batch with its labels: {drawn}")
