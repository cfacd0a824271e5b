"""python -m visiontasks.evaluate run=DIR|recipe=NAME [data=DIR] [out=DIR]: score a run's best checkpoint."""

import os
import re
from pathlib import Path

from visiontasks import cli, standard_streams
from visiontasks.errors import UserError, near

WORDS = ("run", "recipe", "data", "split", "out", "batch", "detector")

USAGE = """python -m visiontasks.evaluate run=DIR|recipe=NAME [data=DIR] [out=DIR] [batch=N] [data.KEY=VALUE …]

  run=DIR      a run's folder (runs/RECIPE/TIME), or one that holds several: then the newest
  recipe=NAME  a recipe whose weights are complete without training: recipe=faster_rcnn_coco weights=coco
  data=DIR     other images to score on; by default the run's validation set, or the recipe's
  split=val    of a data=DIR without a validation folder, score the share that training keeps for validation; by default
               all
  out=DIR      for evaluation.json, charts and drawn images: a new folder, or that of an earlier evaluation, which is
               replaced; by default the run's folder, and with data= or data.… a folder below its evaluations/ that is
               named after them; evaluations/NAME of a recipe
  detector=RUN|RECIPE  of a model that looks at one object at a time, such as pose_heatmap: what detects the objects; by
               default the annotated boxes are looked at
  data.…       the keys of a recipe's data, such as data.train.values=[0,255]; with recipe= any of its keys"""


def main(arguments: list[str] | None = None):
    cli.run(evaluate, arguments, lambda: USAGE)


def evaluate(arguments: list[str]) -> int:
    """Score a run's best checkpoint and write the results; returns the exit code."""
    words, overrides = cli.words(arguments, WORDS, open_ended=True)
    if ("run" in words) == ("recipe" in words):
        raise UserError("expected run=DIR, the folder of a run, or recipe=NAME, and not both.")
    if words.get("split", "all") not in ("all", "val"):
        raise UserError(f"split: expected val or all, got {words['split']!r}.")
    for override in overrides:
        key = override.partition("=")[0]
        if "run" in words and not key.startswith("data."):
            raise UserError(f"{key}: unknown key; a run is scored as it was trained. {near(key, WORDS)}")
    from visiontasks import api, build, model_loading
    from visiontasks.data.fingerprints import count_known
    from visiontasks.evaluation.report import write_evaluation
    from visiontasks.evaluation.results import results_folder
    from visiontasks.preprocess import check_canvas
    from visiontasks.registry.catalog import tasks_of
    from visiontasks.training.run_directory import RunDirectory

    console = standard_streams.console()
    run = RunDirectory.find(words["run"]) if "run" in words else None
    other = _name_of(words, overrides)
    overrides += [f"data.batch={words['batch']}"] if "batch" in words else []
    recipe, detected = build.recipe(
        str(run.recipe) if run else words["recipe"], overrides, words.get("data"), known=True
    )
    if detected:
        console.print(detected)
    checkpoints = run.checkpoints_for() if run else []
    if run is None:
        build.check_complete(recipe)
    cli.start_keras()
    if run:
        scored, model = model_loading.load_first(checkpoints)
        check_canvas(model, recipe.data.size, "data.size")
    else:
        scored, model = f"recipe {recipe.name}", build.model(recipe)
    whole = "data" in words and words.get("split") != "val"
    loader = build.validation(recipe, model.heads.values(), whole=whole)
    if run and (known := count_known(run.trained_on, loader.source)):
        console.print(
            f"{known} of {len(loader.source)} images are among those that the run trained on: their scores do not "
            "hold for new images." + (" split=val scores only those kept for validation." if whole else "")
        )
    folder = run.path if run else Path("evaluations") / recipe.name
    folder = folder / "evaluations" / other if run and other else folder
    out = results_folder(words.get("out"), folder, replace=True, of=_of(words, overrides))
    console.print(f"{scored}: {len(loader.source)} images")
    predictor = None
    if "detector" in words:
        predictor = api.Predictor(model, detector=cli.predictor(words["detector"], console))
    write_evaluation(model, loader, tasks_of(model, loader.fields), out, console, predictor=predictor)
    if loader.source.report:
        console.print(f"images skipped or mended:\n{loader.source.report}")
    console.print(f"results: {out}")
    return 0


def _name_of(words: dict[str, str], overrides: list[str]) -> str:
    """A folder's name for other data than the run's; "" for the run's."""
    from visiontasks.evaluation.results import shortened

    parts = [Path(_path_of(words)).name] if "data" in words else []
    parts += [f"split={words['split']}"] if "split" in words and parts else []
    return shortened(re.sub(r"[^\w.=,-]+", "_", " ".join(parts + overrides)).strip("._"), 200)


def _of(words: dict[str, str], overrides: list[str]) -> str:
    """What tells evaluations of one folder's name apart; "" for the run's own data."""
    return "\n".join([_path_of(words), *overrides]).strip()


def _path_of(words: dict[str, str]) -> str:
    return str(Path(os.path.expanduser(words["data"])).resolve()) if "data" in words else ""


if __name__ == "__main__":
    main()
