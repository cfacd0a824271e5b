"""A whole training by the `train` command, and the score that it ends with."""

import csv
import json
import os
from pathlib import Path

from gpu_measures import child, recipes


def measure(recipe: str, data: str | None, precision: str, seed: int, tiny: bool):
    folder = data and recipes.folder(data)
    if data and not folder:
        raise child.Skipped(f"no folder of data sets (--data) with {data}")
    runs = Path(os.environ["GPU_ROW"]).with_suffix("")
    words = [f"recipe={recipe}", *([f"data={folder}"] if folder else [])]
    words += recipes.overrides(recipes.measured()[recipe], data, tiny)
    words += [f"train.precision={precision}", f"run.seed={seed}", f"run.dir={runs}"]
    from visiontasks import train

    try:
        train.main(words)
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"the train command ended with {ended.code}") from None
    (run,) = runs.glob("*/*")
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    child.report(score=summary["best_score"], epochs=summary["epochs"], training_seconds=summary["training_seconds"])
    child.report(not_finite=not_finite(run / "metrics.csv"))
    child.report(metrics={key: value for key, value in summary["metrics"].items() if "/" not in key})


def not_finite(path: Path) -> list[str]:
    """The losses that were NaN in some epoch; a run's table has nothing in their place."""
    with path.open(newline="", encoding="utf-8") as file:
        lost = {key for row in csv.DictReader(file) for key, value in row.items() if not value}
    return sorted(key for key in lost if key.endswith("loss"))
