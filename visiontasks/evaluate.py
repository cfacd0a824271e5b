"""python -m visiontasks.evaluate run=DIR [data=DIR] [out=DIR]: score a run's best checkpoint."""

from pathlib import Path

from visiontasks import cli
from visiontasks.errors import UserError

WORDS = ("run", "data", "out", "batch")

USAGE = """python -m visiontasks.evaluate run=DIR [data=DIR] [out=DIR] [batch=N]

  run=DIR    a run's folder (runs/RECIPE/TIME), or one that holds several: then the newest
  data=DIR   other pictures to score on; by default the run's own validation part
  out=DIR    where evaluation.json, charts and drawn pictures go; by default the run's folder"""


def main(arguments: list[str] | None = None):
    cli.run(evaluate, arguments, lambda: USAGE)


def evaluate(arguments: list[str]) -> int:
    """Score a run's best checkpoint and write down what was found; the exit code."""
    words, _ = cli.words(arguments, WORDS)
    if "run" not in words:
        raise UserError("run: expected run=DIR, the folder of a run.")
    from rich.console import Console

    from visiontasks import build
    from visiontasks.training.run_directory import RunDirectory

    console = Console(soft_wrap=True)
    run = RunDirectory.find(words["run"])
    overrides = [f"data.batch={words['batch']}"] if "batch" in words else []
    recipe, said = build.recipe(str(run.recipe), overrides, words.get("data"))
    if said:
        console.print(said, highlight=False)
    checkpoint = run.checkpoint
    model = build.load_model(checkpoint)
    classes = {head.fields[0]: head.classes for head in model.heads.values()}
    loader = build.validation(recipe, classes, whole="data" in words)
    from visiontasks.training.results import write_evaluation

    out = Path(words.get("out", run.path))
    out.mkdir(parents=True, exist_ok=True)
    console.print(f"{checkpoint}: {len(loader.source)} pictures", highlight=False)
    write_evaluation(model, loader, build.tasks(model), out, console)
    if loader.source.report:
        console.print(f"pictures skipped or mended:\n{loader.source.report}")
    console.print(f"results: {out}", highlight=False)
    return 0


if __name__ == "__main__":
    main()
