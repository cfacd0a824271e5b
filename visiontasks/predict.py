"""python -m visiontasks.predict run=DIR|recipe=NAME source=FILE|DIR|GLOB [out=DIR]: answer for pictures."""

import json
from pathlib import Path

from visiontasks import cli
from visiontasks.errors import UserError

WORDS = ("run", "recipe", "source", "out", "batch")

USAGE = """python -m visiontasks.predict run=DIR|recipe=NAME source=FILE|DIR|GLOB [out=DIR] [batch=N] [key=value …]

  run=DIR      a run's folder: its best checkpoint answers
  recipe=NAME  a recipe whose weights are complete without training, such as imagenet
  source=…     a picture, a folder of pictures, or a glob
  out=DIR      where predictions.json and the drawn pictures go; by default predictions
  key=value    overrides of a recipe=, such as backbone.name=resnet50"""


def main(arguments: list[str] | None = None):
    cli.run(predict, arguments, lambda: USAGE)


def predict(arguments: list[str]) -> int:
    """Answer for every picture and write `predictions.json` and drawings; the exit code."""
    words, overrides = cli.words(arguments, WORDS, open_ended=True)
    if "source" not in words or ("run" in words) == ("recipe" in words):
        raise UserError("expected source=FILE|DIR|GLOB and either run=DIR or recipe=NAME.")
    if "run" in words and overrides:
        raise UserError(
            f"{overrides[0]}: a run's checkpoint answers as it was trained; overrides go with recipe= or with train."
        )
    from visiontasks import build
    from visiontasks.data.pipeline import Loader
    from visiontasks.data.sources.pictures import Pictures

    console = cli.console()
    pictures = Pictures(words["source"])
    checkpoint = None
    if "run" in words:
        from visiontasks.training.run_directory import RunDirectory

        run = RunDirectory.find(words["run"])
        recipe, _ = build.recipe(str(run.recipe))
        checkpoint = run.checkpoint
        console.print(f"checkpoint: {checkpoint}")
    else:
        recipe, _ = build.recipe(words["recipe"], overrides)
        if not build.is_complete(recipe):
            raise UserError(
                f"recipe: {words['recipe']} has weights to be learnt, so it cannot predict yet. Train it "
                f"(python -m visiontasks.train recipe={words['recipe']}) and give run=DIR."
            )
    batch = _positive(words.get("batch", "8"))
    out = Path(words.get("out", "predictions"))
    out.mkdir(parents=True, exist_ok=True)

    model = build.load_model(checkpoint, compile=False) if checkpoint else build.model(recipe)
    loader = Loader(
        pictures, fields=(), size=tuple(recipe.data.size), batch=min(batch, len(pictures)), resize=recipe.data.resize
    )
    records = _answer(model, loader, build.tasks(model), out, console)
    text = json.dumps(records, indent=2, ensure_ascii=False)
    (out / "predictions.json").write_text(text + "\n", encoding="utf-8")
    if pictures.report:
        console.print(f"pictures skipped or mended:\n{pictures.report}")
    console.print(f"{len(records)} pictures: {out / 'predictions.json'}")
    return 0 if records else 1


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"batch: expected a number of pictures from 1 up, got {text!r}.")
    return int(text)


def _answer(model, loader, tasks, out, console) -> list[dict]:
    """Predict, draw and record every picture of a loader."""
    from rich.progress import Progress

    from visiontasks.data.images import write_image
    from visiontasks.tasks.drawing import side_by_side

    records, used = [], set()
    kinds = [model.heads[name].task for name in tasks]
    with Progress(console=console, transient=True) as bar:
        shown = bar.add_task("predicting", total=len(loader.source))
        for batch, samples in loader.with_samples():
            outputs = model.by_head(model.predict_on_batch(batch["image"]))
            for row, sample in enumerate(samples):  # rows beyond the samples fill the batch up
                stem = _unused(Path(sample.path).stem, used)
                record = {"path": sample.path, "size": list(sample.image.shape[:2])}
                drawn = []
                for (name, task), kind in zip(tasks.items(), kinds, strict=True):
                    one = {key: value[row] for key, value in outputs[name].items()}
                    restored = task.restore(one, loader.placement(sample))
                    # two heads of one kind are told apart by their own names
                    key = kind if kinds.count(kind) == 1 else name
                    record[key] = task.record(restored, out, stem if key == kind else f"{stem}_{name}")
                    drawn.append(task.draw_prediction(sample.image, restored))
                titles = list(tasks) if len(tasks) > 1 else []
                write_image(out / f"{stem}.png", side_by_side(drawn, titles) if len(drawn) > 1 else drawn[0])
                records.append(record)
            bar.update(shown, advance=len(samples))
    return records


def _unused(stem: str, used: set[str]) -> str:
    """The stem, numbered where a picture of another folder or ending had it already."""
    name, number = stem, 2
    while {name, f"{name}_mask"} & used:
        name, number = f"{stem}_{number}", number + 1
    used |= {name, f"{name}_mask"}  # the mask file's name is taken with it
    return name


if __name__ == "__main__":
    main()
