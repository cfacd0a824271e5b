"""python -m visiontasks.train recipe=NAME|PATH [data=DIR] [key=value …]: train a recipe."""

import dataclasses
import math
import platform
import tempfile
import warnings
import zipfile
from pathlib import Path

from visiontasks import cli
from visiontasks.errors import RecipeError, UserError
from visiontasks.recipe.schema import recipe_paths
from visiontasks.training.reporter import Reporter

WORDS = ("recipe", "data", "dry_run", "resume", "verify")

USAGE = """python -m visiontasks.train recipe=NAME|PATH [data=DIR] [dry_run=true] [key=value …]
       python -m visiontasks.train resume=RUN

  recipe=NAME|PATH  a shipped recipe, or a YAML file
  data=DIR          your own images: class folders, images/ + masks/, a CSV of tags, COCO, PASCAL VOC,
                    YOLO, or a CSV of boxes
  dry_run=true      print the resolved recipe, shapes and memory, draw one batch, and stop
  resume=RUN        a run's folder, or one that holds several: the newest that was stopped or killed goes on where its
                    last state was saved, to the same bits as if nothing had happened; resume=true looks in the
                    recipe's folder, or in runs
  verify=data       fingerprints of all files of the data are kept, and compared when the run goes on; otherwise their
                    names, sizes and times are
  key=value         any key of the recipe, such as train.epochs=5 or backbone.name=resnet50

recipes:"""


def main(arguments: list[str] | None = None):
    cli.run(train, arguments, usage)


def usage() -> str:
    """The first screen of help: arguments and recipes, read without importing Keras."""
    from visiontasks import help

    return f"{USAGE}\n{help.recipes()}"


def train(arguments: list[str]) -> int:
    """Check everything that can be checked without Keras, then train; returns the exit code."""
    words, overrides = cli.words(arguments, WORDS, open_ended=True)
    if not words.keys() & {"recipe", "resume"}:
        from visiontasks.recipe.reading import available

        raise UserError(f"recipe: expected recipe=NAME, or resume=RUN; the shipped ones are {', '.join(available())}.")
    if words.get("verify", "data") != "data":
        raise RecipeError(f"verify: expected data, got {words['verify']!r}.")
    dry = cli.flag(words, "dry_run")
    from visiontasks import build, precision
    from visiontasks.data.batch import check_readable
    from visiontasks.training import devices

    run = None
    if "resume" in words:
        run, recipe, detected = _resumed(words, overrides)
    else:
        recipe, detected = build.recipe(words["recipe"], overrides, words.get("data"))
    devices.suit_few_cores()
    if recipe.train.devices == "cpu":
        devices.hide_gpus()
    reporter = Reporter(cli.console())
    reporter.line(detected)
    train_set, val_set = build.loaders(recipe)
    reporter.data(train_set, val_set)
    for one in (train_set, val_set):
        check_readable(one.source)  # else the first epoch finds it out, of the validation set at its end
    if run is not None:
        _check_same_data(run, recipe, train_set)
    recipe = recipe.replace(data=dataclasses.replace(recipe.data, bits=train_set.bits))  # a run keeps its scale

    with recipe_paths():
        capability = cli.start_keras(recipe.train.devices, events=True)
    import keras

    with recipe_paths():
        scope = devices.scope(recipe.train.devices, recipe.data.batch)
        if dry:
            policy = devices.precision(recipe.train.precision, capability)
        else:
            policy, timed = precision.resolve(recipe, train_set, capability)
            reporter.line(timed)
            # written into the run, so that whatever goes on from there does not decide anew
            recipe = recipe.replace(train=dataclasses.replace(recipe.train, precision=policy))
    keras.utils.set_random_seed(recipe.run.seed)
    keras.config.set_dtype_policy(policy)
    try:
        with scope:
            model = build.model(recipe, train_set)
            if dry:
                return _dry_run(model, recipe, train_set, reporter, policy)
            if run is None:
                run = _begun(recipe, train_set, words)
            return _train(model, recipe, train_set, val_set, reporter, run)
    finally:
        keras.config.set_dtype_policy("float32")


def _dry_run(model, recipe, loader, reporter, policy) -> int:
    from visiontasks import build
    from visiontasks.data.batch import row_of
    from visiontasks.data.images import write_image
    from visiontasks.drawing.panels import captioned, grid, side_by_side
    from visiontasks.registry.catalog import tasks_of
    from visiontasks.training.estimate import step_bytes

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
    return 0


def _resumed(words, overrides):
    """(run, its recipe, a sentence) of what `resume=` names.

    Raises:
        UserError: there is no such run, or another recipe is asked for.
    """
    from visiontasks import build
    from visiontasks.recipe.differences import differences, resumed
    from visiontasks.training.run_directory import RunDirectory

    asked = build.recipe(words["recipe"], overrides, words.get("data"))[0] if "recipe" in words else None
    place = words["resume"]
    if place.lower() == "true":
        place = (
            Path(asked.run.dir) / asked.name
            if asked
            else next((one.partition("=")[2] for one in overrides if one.startswith("run.dir=")), "runs")
        )
    run = RunDirectory.resumable(place)
    recipe, _ = build.recipe(str(run.recipe))
    asked = asked or build.recipe(str(run.recipe), overrides, words.get("data"))[0]
    if found := differences(recipe, asked):
        raise UserError(
            f"{run.path} was begun with another recipe ({'; '.join(found)}). Leave these out to go on with it, or "
            "begin a new run.",
            "resume",
        )
    return run, resumed(recipe, asked).replace(name=run.path.parent.name), f"going on with {run.path}"


def _check_same_data(run, recipe, train_set):
    """Raise unless the data are those that a run was begun with."""
    from visiontasks.data.stamps import changes, read_stamps, stamps

    files, names = read_stamps(run.data)
    now = {name: list(values) for name, values in train_set.names.items()}
    found = [f"{key}: {names.get(key)}, now {now.get(key)}" for key in names | now if names.get(key) != now.get(key)]
    contents = any(fingerprint for _, _, fingerprint in files.values())
    if text := "; ".join(found) or changes(files, stamps([recipe.data.train, recipe.data.val], contents)):
        raise UserError(
            f"the data of {run.path} have changed since it began ({text}), so it cannot go on. Bring them back, or "
            "begin a new run. (A run begun with verify=data compares contents instead of times.)",
            "resume",
        )


@recipe_paths()
def _begun(recipe, train_set, words):
    """A new run's folder, with what is known before the first step."""
    from visiontasks.data.fingerprints import write_fingerprints
    from visiontasks.data.stamps import stamps, write_stamps
    from visiontasks.training.optimizers import optimizer
    from visiontasks.training.run_directory import RunDirectory
    from visiontasks.writing import replace_atomically

    t = recipe.train
    optimizer(t.optimizer, t.schedule, 1, 1, t.clip_norm, t.ema)  # raises what Keras rejects before the run begins
    run = RunDirectory.create(Path(recipe.run.dir), recipe.name)
    replace_atomically(run.recipe, lambda path: path.write_text(recipe.to_yaml(), encoding="utf-8"), "dir")
    write_fingerprints(run.trained_on, train_set.source)
    files = stamps([recipe.data.train, recipe.data.val], contents="verify" in words)
    write_stamps(run.data, files, {name: list(values) for name, values in train_set.names.items()})
    return run


@recipe_paths()
def _train(model, recipe, train_set, val_set, reporter, run) -> int:
    import keras

    from visiontasks.evaluation.report import write_evaluation
    from visiontasks.evaluation.results import write_json
    from visiontasks.registry.catalog import tasks_of
    from visiontasks.training.fit import fit
    from visiontasks.training.statistics import fit_statistics
    from visiontasks.training.versions import changed
    from visiontasks.writing import remove_unfinished

    precision = recipe.train.precision
    reporter.line(f"run: {run.path}  ({keras.backend.backend()}, {precision})")
    remove_unfinished(run.path)
    if saved := run.states.read():
        reporter.line(changed(saved[0]["versions"]))
    tasks = tasks_of(model, train_set.fields)
    try:
        if model.by_gradients:
            ended = fit(model, train_set, val_set, tasks, recipe.train, run, reporter.console, saved=saved)
        else:
            ended = fit_statistics(model, train_set, run, reporter.console)
    except KeyboardInterrupt:  # a second Ctrl-C
        reporter.stopped(run, "at once")
        raise
    finally:
        if skipped := reporter.skipped(train_set, val_set):
            run.skipped.write_text(skipped, encoding="utf-8", errors="backslashreplace")
    seconds = ended.pop("seconds")
    summary = {
        "recipe": recipe.name,
        **ended,
        "training_seconds": round(seconds, 1),
        "backend": keras.backend.backend(),
        "precision": precision,
        "parameters": model.count_params(),
        "versions": {"keras": keras.__version__, "python": platform.python_version()},
    }
    write_json(run.summary, summary)  # before the evaluation, which may be stopped
    if ended["interrupted"]:
        reporter.stopped(run, f"after {ended['epochs']} whole epoch{'s' * (ended['epochs'] != 1)}")
        return 130
    if run.best.is_file():
        with warnings.catch_warnings():  # the best epoch may have had a frozen backbone without optimizer state
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            _load_weights(model, run.best)
    evaluation = write_evaluation(
        model,
        val_set,
        tasks,
        run.path,
        reporter.console,
        losses=model.by_gradients,  # with the function that validation has traced already
    )
    write_json(run.summary, {**summary, "metrics": evaluation.metrics})
    run.states.prune(1)
    reporter.ended(run, ended, tasks, seconds)
    return 0


def _load_weights(model, checkpoint: Path):
    """`model.load_weights`, from an extracted file: within an archive, h5py would read it anew at each step back."""
    with zipfile.ZipFile(checkpoint) as archive, tempfile.TemporaryDirectory(dir=checkpoint.parent) as folder:
        model.load_weights(archive.extract("model.weights.h5", folder))


if __name__ == "__main__":
    main()
