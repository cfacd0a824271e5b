"""python -m visiontasks.evaluate run=DIR|recipe=NAME [data=DIR] [out=DIR]: score a run's best checkpoint."""

import re
from pathlib import Path

from visiontasks import cli
from visiontasks.errors import UserError, near

WORDS = ("run", "recipe", "data", "out", "batch")

USAGE = """python -m visiontasks.evaluate run=DIR|recipe=NAME [data=DIR] [out=DIR] [batch=N] [data.KEY=VALUE …]

  run=DIR      a run's folder (runs/RECIPE/TIME), or one that holds several: then the newest
  recipe=NAME  a recipe whose weights are complete without training: recipe=faster_rcnn_coco weights=coco
  data=DIR     other pictures to score on; by default the run's own validation part, or the recipe's
  out=DIR      where evaluation.json, charts and drawn pictures go; by default the run's folder, and with data= or
               data.… a folder below its evaluations/ that is named after them; evaluations/NAME of a recipe
  data.…       the keys of a recipe's data, such as data.train.values=[0,255]; with recipe= any of its keys"""


def main(arguments: list[str] | None = None):
    cli.run(evaluate, arguments, lambda: USAGE)


def evaluate(arguments: list[str]) -> int:
    """Score a run's best checkpoint and write down what was found; the exit code."""
    words, overrides = cli.words(arguments, WORDS, open_ended=True)
    if ("run" in words) == ("recipe" in words):
        raise UserError("expected run=DIR, the folder of a run, or recipe=NAME, and not both.")
    for override in overrides:
        key = override.partition("=")[0]
        if "run" in words and not key.startswith("data."):
            raise UserError(f"{key}: unknown key; a run is scored as it was trained. {near(key, WORDS)}")
    from visiontasks import build
    from visiontasks.training.run_directory import RunDirectory

    console = cli.console()
    run = RunDirectory.find(words["run"]) if "run" in words else None
    other = _name_of(words.get("data"), overrides)
    overrides += [f"data.batch={words['batch']}"] if "batch" in words else []
    recipe, said = build.recipe(str(run.recipe) if run else words["recipe"], overrides, words.get("data"))
    if said:
        console.print(said)
    scored = run.checkpoint if run else f"recipe {recipe.name}"
    if run is None:
        build.check_complete(recipe)
    cli.start_keras()
    model = build.load_model(scored, compile=False) if run else build.model(recipe)
    classes = {head.fields[0]: head.classes for head in model.heads.values()}
    loader = build.validation(recipe, classes, whole="data" in words)
    from visiontasks.evaluation.report import write_evaluation

    folder = run.path if run else Path("evaluations") / recipe.name
    out = Path(words.get("out", folder / "evaluations" / other if run and other else folder))
    out.mkdir(parents=True, exist_ok=True)
    console.print(f"{scored}: {len(loader.source)} pictures")
    write_evaluation(model, loader, build.tasks(model), out, console)
    if loader.source.report:
        console.print(f"pictures skipped or mended:\n{loader.source.report}")
    console.print(f"results: {out}")
    return 0


def _name_of(data: str | None, overrides: list[str]) -> str:
    """A folder's name for data other than the run's own; "" for its own."""
    folder = [] if data is None else [Path(data).resolve().name]
    return re.sub(r"[^\w.=,-]+", "_", " ".join(folder + overrides)).strip("._")


if __name__ == "__main__":
    main()
