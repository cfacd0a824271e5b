"""python -m visiontasks.train recipe=NAME|PATH [data=DIR] [key=value …]: train what a recipe says."""

import dataclasses
import math
import platform
import time
import warnings
from pathlib import Path

from visiontasks import cli
from visiontasks.errors import UserError
from visiontasks.recipe.paths import recipe_paths

WORDS = ("recipe", "data", "dry_run")


def main(arguments: list[str] | None = None):
    cli.run(train, arguments, usage)


def usage() -> str:
    """The help: every recipe, key and part, read without importing Keras."""
    from visiontasks.recipe import catalog, schema
    from visiontasks.recipe import reading as recipe

    lines = [
        "python -m visiontasks.train recipe=NAME|PATH [data=DIR] [dry_run=true] [key=value …]",
        "",
        "  recipe=NAME|PATH  a shipped recipe, or a YAML file",
        "  data=DIR          your own pictures: class folders, images/ + masks/, a CSV of tags,",
        "                    COCO, PASCAL VOC, YOLO, or a CSV of boxes",
        "  dry_run=true      print the resolved recipe, shapes and memory, draw one batch, and stop",
        "",
        "recipes:",
        *(f"  {name:18}{line}" for name, line in recipe.available().items()),
        "",
        "keys (type, default):",
    ]
    for key, kind, default, doc in schema.documented_keys():
        lines.append(f"  {key:26}{doc}  ({kind}, {'required' if default is None and key == 'backbone' else default})")
    folders = {"backbones": "backbones", "heads": "heads", "sources": "data/sources", "transforms": "data/augment"}
    for title, folder in folders.items():
        lines += ["", f"{title} and their arguments:"]
        grouped = {}
        for name, part in catalog.parts(folder).items():
            shown = part.symbol if title == "transforms" else name
            grouped.setdefault((part.module, part.arguments), []).append((shown, part))
        for (_, arguments), members in grouped.items():
            lines.append(f"  {', '.join(name for name, _ in members)}: {members[0][1].summary}")
            lines += [f"    {_argument(a)}" for a in arguments]
    return "\n".join(lines)


def _argument(argument) -> str:
    from visiontasks.recipe.catalog import REQUIRED

    default = "" if argument.default is REQUIRED else f" = {argument.default!r}"
    return f"{argument.name}: {argument.annotation}{default}" if argument.annotation else argument.name + default


@recipe_paths()
def train(arguments: list[str]) -> int:
    """Read the words, check everything that can be checked without Keras, then train; the exit code."""
    words, overrides = cli.words(arguments, WORDS, open_ended=True)
    if "recipe" not in words:
        from visiontasks.recipe.reading import available

        raise UserError(f"recipe: expected recipe=NAME; the shipped ones are {', '.join(available())}.")
    dry = cli.flag(words, "dry_run")
    from visiontasks import build
    from visiontasks.training import devices

    recipe, said = build.recipe(words["recipe"], overrides, words.get("data"))
    devices.suit_few_cores()
    if recipe.train.devices == "cpu":
        devices.hide_gpus()
    console = cli.console()
    if said:
        console.print(said)
    train_part, val_part = build.loaders(recipe)
    console.print(_counted("training", train_part) + ", " + _counted("validation", val_part))
    for field in build.fields(recipe):
        if train_part.names.get(field):
            console.print(_listed(field, train_part.names[field]))
    _say_skipped(train_part, val_part, console)

    import keras

    capability = devices.gpu_capability()
    devices.check(recipe.train.devices, capability)
    policy = devices.precision(recipe.train.precision, capability)
    keras.utils.set_random_seed(recipe.run.seed)
    keras.config.set_dtype_policy(policy)
    try:
        with devices.scope(recipe.train.devices, recipe.data.batch):
            model = build.model(recipe, train_part.names)
            if dry:
                return _dry_run(model, recipe, train_part, console, policy)
            return _train(model, recipe, train_part, val_part, console, policy)
    finally:
        keras.config.set_dtype_policy("float32")


def _counted(what, loader):
    return f"{len(loader.source)} {what} pictures"


def _listed(field, names, most=12):
    rest = f", … and {len(names) - most} more" if len(names) > most else ""
    return f"{field}: {len(names)} classes: {', '.join(names[:most])}{rest}"


def _reports(train_part, val_part) -> list:
    """The parts' reports; a data set that was split has one for both."""
    reports = {id(part.source.report): part.source.report for part in (train_part, val_part)}
    return [report for report in reports.values() if report]


def _say_skipped(train_part, val_part, console, run=None):
    """Print what was skipped, mended or warned of; into a run's folder goes the list of every name."""
    reports = _reports(train_part, val_part)
    if reports:
        console.print("\n".join(map(str, reports)))
        if run is not None:
            run.skipped.write_text("\n".join(report.whole() for report in reports) + "\n", encoding="utf-8")


def _dry_run(model, recipe, loader, console, policy) -> int:
    from visiontasks import build
    from visiontasks.data.batch import row_of
    from visiontasks.data.images import write_image
    from visiontasks.drawing.panels import captioned, contact_sheet, side_by_side
    from visiontasks.evaluation.tasks.task import tasks_of
    from visiontasks.training.estimate import step_bytes

    console.print(recipe.to_yaml())
    console.print(f"backbone {recipe.backbone['name']}: {model.backbone.count_params():,} parameters")
    for tap, output in model.backbone.output.items():
        console.print(f"  {tap:8}{tuple(output.shape)}")
    for name, head in model.heads.items():
        count = head.count_params()
        console.print(f"head {name}: {count:,} parameters, {len(head.classes)} classes")
    measured = model
    if recipe.data.sizes:  # activations can be counted for a known size alone: the largest
        largest = max(recipe.data.sizes, key=math.prod)
        fixed = dataclasses.replace(recipe.data, size=largest, sizes=[])
        measured = build.model(recipe.replace(data=fixed), loader.names)
    memory = step_bytes(measured, recipe.data.batch)
    parts = ", ".join(f"{key} {value / 2**20:,.0f} MiB" for key, value in memory.items())
    console.print(f"memory of a step, about {sum(memory.values()) / 2**20:,.0f} MiB ({parts}) in {policy}")
    batch, tasks = next(iter(loader)), tasks_of(model)
    console.print("batch: " + ", ".join(f"{k} {v.dtype} {v.shape}" for k, v in batch.items()))
    rows = []
    for row in range(len(batch["image"])):
        sample = row_of(batch, row)
        panels = [captioned(sample.image), *(task.draw_truth(sample.image, sample) for task in tasks.values())]
        rows.append(side_by_side(panels, ["as trained on", *tasks]))
    write_image(Path("batch.png"), contact_sheet(rows))
    console.print("one augmented batch with its labels: batch.png")
    return 0


def _train(model, recipe, train_part, val_part, console, policy) -> int:
    import keras

    from visiontasks.data.fingerprints import write_fingerprints
    from visiontasks.evaluation.report import write_evaluation
    from visiontasks.evaluation.tasks.task import tasks_of
    from visiontasks.training.fit import fit
    from visiontasks.training.optimizers import optimizer
    from visiontasks.training.run_directory import RunDirectory

    t = recipe.train
    optimizer(t.optimizer, t.schedule, 1, 1, t.clip_norm, t.ema)  # what Keras refuses is an error now
    run = RunDirectory.create(Path(recipe.run.dir), recipe.name)
    run.recipe.write_text(recipe.to_yaml(), encoding="utf-8")
    write_fingerprints(run.trained_on, train_part.source)
    console.print(f"run: {run.path}  ({keras.backend.backend()}, {policy})")
    started = time.monotonic()
    tasks = tasks_of(model)
    try:
        ended = fit(model, train_part, val_part, tasks, recipe.train, run, console)
    except KeyboardInterrupt:  # a second Ctrl-C
        said = f"the last checkpoint: {run.last}" if run.last.is_file() else "no epoch was finished"
        console.print(f"stopped at once; {said}")
        raise
    finally:
        _say_skipped(train_part, val_part, console, run)
    seconds = time.monotonic() - started
    summary = {
        "recipe": recipe.name,
        **ended,
        "training_seconds": round(seconds, 1),
        "backend": keras.backend.backend(),
        "precision": policy,
        "parameters": model.count_params(),
        "versions": {"keras": keras.__version__, "python": platform.python_version()},
    }
    if ended["interrupted"]:
        run.write_json("summary.json", summary)
        console.print(f"stopped after {ended['epochs']} epochs; the last checkpoint: {run.last}")
        return 130
    if run.best.is_file():
        with warnings.catch_warnings():  # of an epoch whose frozen backbone had no optimizer state
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            model.load_weights(run.best)
    found = write_evaluation(model, val_part, tasks, run.path, console)
    run.write_json("summary.json", {**summary, "figures": found.metrics})
    console.print(f"{seconds / 60:.1f} minutes of training; results: {run.path}")
    return 0


if __name__ == "__main__":
    main()
