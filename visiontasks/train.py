"""python -m visiontasks.train recipe=NAME|PATH [data=DIR] [key=value …]: train a recipe."""

import collections
import dataclasses
import platform
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

from visiontasks import cli, standard_streams
from visiontasks.errors import RecipeError, UserError
from visiontasks.recipe.schema import recipe_paths
from visiontasks.training.reporter import Reporter

WORDS = ("recipe", "data", "dry_run", "resume", "verify", "init", "processes")

USAGE = """python -m visiontasks.train recipe=NAME|PATH [data=DIR] [dry_run=true] [key=value …]
       python -m visiontasks.train resume=RUN

  recipe=NAME|PATH  a shipped recipe, or a YAML file
  data=DIR          your own images: class folders, images/ + masks/, a CSV of tags, COCO, PASCAL VOC,
                    YOLO, or a CSV of boxes
  dry_run=true      print the resolved recipe, shapes and memory, draw one batch, and stop
  resume=RUN        a run's folder, or one that holds several: the newest that was stopped or killed goes on from its
                    last saved state, bit for bit as if nothing had happened; resume=true looks in the recipe's
                    folder, or in runs
  init=RUN|FILE     start from trained weights: of a run's folder, of the newest run of a folder, or a .keras file; the
                    backbone must be the same, heads with other classes are re-initialized
  processes=N       train in N processes of this machine, which share each batch (JAX; docs/distributed.md)
  verify=data       with resume=: compare the contents of all files of the data, not only where size or time differ
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
    if "recipe" not in words and words.get("resume", "false").lower() == "false":
        from visiontasks.recipe.reading import available

        raise UserError(f"recipe: expected recipe=NAME, or resume=RUN; the shipped ones are {', '.join(available())}.")
    if words.get("verify", "data") != "data":
        raise RecipeError(f"verify: expected data, got {words['verify']!r}.")
    dry, resumes = cli.flag(words, "dry_run"), words.get("resume", "false").lower() != "false"
    if "verify" in words and not resumes:
        raise UserError("it is for resume=RUN, whose data it compares; leave it out.", "verify")
    if resumes and "init" in words:
        raise UserError(
            "a resumed run goes on with its own weights. Leave init out, or leave resume out to start a new run from "
            "these weights.",
            "init",
        )
    from visiontasks.training import launching, processes

    count, joined = cli.number(words, "processes", 1), processes.joined()
    if count > 1:
        processes.check_backend(count)
    if joined.count == 1 and count > 1 and not dry:
        rest = [word for word in arguments if not word.startswith("processes=")]
        if resumes:  # one choice for all: another run may end, or begin, while they start
            from visiontasks import runs

            run, _ = runs.resumed(words["resume"], words.get("recipe"), overrides, words.get("data"))
            run.release()
            rest = [word for word in rest if not word.startswith(("resume=", "run.dir="))] + [f"resume={run.path}"]
        return launching.launch(count, [sys.executable, "-m", "visiontasks.train", *rest])
    if "processes" in words and joined.count not in (1, count):
        raise UserError(
            f"expected {joined.count}, which a launcher has started, got {count}; leave it out.", "processes"
        )
    launching.end_with_parent()
    return _prepared(words, overrides, dry, resumes, joined)


def _prepared(words, overrides, dry, resumes, processes) -> int:
    """Read the recipe, and train it with the other processes, if there are any."""
    from visiontasks import build, initializing, runs
    from visiontasks.training import determinism, devices

    run, initial, console = None, None, standard_streams.console(processes.first)
    if resumes:
        asked = words.get("recipe"), overrides, words.get("data")
        run, recipe = runs.resumed(words["resume"], *asked, hold=processes.first)
        detected = f"resuming {run.path}"
        if run.ended:
            console.print(f"{run.path} has ended: nothing is left to do")
            return 0
    else:
        recipe, detected = build.recipe(words["recipe"], overrides, words.get("data"))
        recipe = recipe.replace(init=words.get("init", recipe.init))
        if recipe.init is not None:
            initial = initializing.Initial.of(recipe.init)
            initial.check(recipe)
    if processes.count > 1 and not build.by_gradients(recipe):
        raise UserError("a head that learns without gradients is fitted by one; leave it out.", "processes")
    if processes.count > 1 and recipe.train.on_nan == "rollback":
        raise UserError("only one process goes back; leave it out, or set train.on_nan=stop.", "processes")
    devices.suit_few_cores()
    if recipe.train.devices == "cpu":
        devices.hide_gpus()
    if recipe.train.deterministic:
        determinism.prepare()
    reporter = Reporter(console)
    reporter.line(detected)
    try:
        with processes.together():
            return _checked(words, recipe, run, initial, dry, reporter, processes)
    finally:
        if run is not None:
            run.release()


def _checked(words, recipe, run, initial, dry, reporter, processes) -> int:
    """Check the data, start Keras, build the model, and train it."""
    from visiontasks import build, initializing, memory_advice, precision, runs
    from visiontasks.data.batch import check_readable
    from visiontasks.signals import Stop
    from visiontasks.training import determinism, devices
    from visiontasks.writing import remove_unfinished

    train_set, val_set = build.loaders(recipe, processes.share)
    reporter.data(train_set, val_set)
    Stop(recipe.train.stop_file).begin(
        "train.stop_file"
    )  # also that of the last time, which would stop this run at its first step
    for one in (train_set, val_set):
        check_readable(one.source)  # else the first epoch finds it out, of the validation set at its end
    if run is not None:
        runs.check_same_data(run, recipe, train_set, contents="verify" in words)
    elif not dry and processes.first:
        stamped = runs.stamped(recipe)
    recipe = recipe.replace(data=dataclasses.replace(recipe.data, bits=train_set.bits))  # a run keeps its scale

    with recipe_paths():
        capability = cli.start_keras(recipe.train.devices, events=True)
    if recipe.train.deterministic:
        determinism.require()
    import keras

    from visiontasks.step_memory import step_memory

    with recipe_paths():
        if processes.count > 1:
            processes.check_same(runs.facts(recipe, train_set, val_set, run))
        scope = devices.scope(recipe.train.devices, recipe.data.batch, processes.count > 1)
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
            if initial is None:
                model, started = build.model(recipe, train_set), {}
            else:
                model, recipe, path, lines = initial.model(recipe, train_set)
                started = {"init": {"path": str(path), "sha256": initializing.digest(path)}}
                reporter.line("\n".join(lines))
            if dry:
                from visiontasks import dry_run

                dry_run.show(model, recipe, train_set, reporter, policy)
                return 0
            if resume := run is not None:
                if processes.first:
                    remove_unfinished(run.path)
            else:
                runs.check_optimizer(recipe)
                run = runs.begin(recipe, train_set, stamped, started) if processes.first else None
                run = runs.seen_by_all(run, processes)
            several = processes.count > 1 or recipe.train.devices == "all"
            whole = recipe.train.freeze is None or recipe.train.freeze.epochs < recipe.train.epochs
            memory = step_memory(model, recipe, train_set)
            with memory_advice.advised(memory, recipe.data.batch, reporter, several, whole):
                return _train(model, recipe, train_set, val_set, reporter, run, resume, processes)
    finally:
        keras.config.set_dtype_policy("float32")
        if run is not None:
            run.release()


@recipe_paths()
def _train(model, recipe, train_set, val_set, reporter, run, resume, processes) -> int:
    import keras

    from visiontasks.evaluation.report import write_evaluation
    from visiontasks.evaluation.results import write_json
    from visiontasks.registry.catalog import tasks_of
    from visiontasks.signals import CODE, Stop, Stopped
    from visiontasks.training.fit import fit
    from visiontasks.training.statistics import fit_statistics
    from visiontasks.training.together import JointStop, validated
    from visiontasks.writing import write_text

    precision = recipe.train.precision
    reporter.line(f"run: {run.path}  ({keras.backend.backend()}, {precision})")
    tasks = tasks_of(model, train_set.fields)
    try:
        if model.by_gradients:
            shared = {"resume": resume, "processes": processes}
            ended = fit(model, train_set, val_set, tasks, recipe.train, run, reporter.console, **shared)
            for notes in processes.collect(train_set.source.report.items())[1:]:
                train_set.source.report.take(notes)
        else:
            ended = fit_statistics(model, train_set, run, reporter.console, Stop(recipe.train.stop_file))
    except KeyboardInterrupt as stopped:  # a second Ctrl-C
        reporter.stopped(run, f"by {stopped}" if isinstance(stopped, Stopped) else "at once")
        raise
    except FloatingPointError as error:
        raise FloatingPointError("\n".join([str(error), *_ways_on(run, recipe.train.on_nan)])) from None
    finally:
        if (skipped := reporter.skipped(train_set, val_set)) and processes.first:
            write_text(run.skipped, skipped, "dir", errors="backslashreplace")
    seconds = ended.pop("seconds")
    summary = {
        **run.begun,
        "recipe": recipe.name,
        **ended,
        "training_seconds": round(seconds, 1),
        "backend": keras.backend.backend(),
        "precision": precision,
        "parameters": model.count_params(),
        "versions": {"keras": keras.__version__, "python": platform.python_version()},
    }
    if processes.first:
        write_json(run.summary, summary, "dir")  # before the evaluation, which may be stopped
    if ended["interrupted"]:
        whole = f"after {ended['epochs']} whole epoch{'s' * (ended['epochs'] != 1)}"
        reporter.stopped(run, f"by {ended['stopped_by']}, {whole}")
        return CODE
    processes.any(False)  # the first one has written all before
    if run.best.is_file():
        with warnings.catch_warnings():  # a checkpoint has no optimizer
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            _load_weights(model, run.checkpoint, writes=processes.first)
    stop, batches = Stop(recipe.train.stop_file), None
    if processes.count > 1:
        stop = JointStop(processes, recipe.train.stop_file)
        batches = validated(model, val_set, processes, on_turn=stop.check_all, on_end=stop.part)
    try:
        if not processes.first:
            with stop.after_steps():
                collections.deque(batches, maxlen=0)
            return 0
        evaluation = write_evaluation(
            model,
            val_set,
            tasks,
            run.path,
            reporter.console,
            losses=model.by_gradients,  # with the function that validation has traced already
            argument="dir",
            batches=batches,
            stop=stop,
        )
    except KeyboardInterrupt as stopped:
        reporter.stopped(run, f"by {stopped}, in the final evaluation")
        raise
    write_json(run.summary, {**summary, "metrics": evaluation.metrics}, "dir")
    run.states.prune(1)
    reporter.ended(run, ended, tasks, seconds)
    return 0


def _ways_on(run, on_nan) -> list[str]:
    """What else may help a run that NaN has stopped, in a sentence, if anything does."""
    if on_nan == "stop" and run.states.files:
        return [f"Or leave that batch out, and halve the learning rate: resume={run.path} train.on_nan=rollback"]
    if on_nan == "rollback" and run.last.is_file():  # to resume would fail again at once
        rate = "train.optimizer.learning_rate=NUMBER"
        return [f"Or begin a new run with its weights and a lower learning rate: init={run.path} {rate}"]
    return []


def _load_weights(model, checkpoint: Path, writes: bool = True):
    """`model.load_weights`, from an extracted file: within an archive, h5py would read it anew at each step back."""
    from visiontasks.writing import temporary_folder

    room = temporary_folder(checkpoint.with_name("weights")) if writes else tempfile.TemporaryDirectory()
    with zipfile.ZipFile(checkpoint) as archive, room as folder:
        model.load_weights(archive.extract("model.weights.h5", folder))


if __name__ == "__main__":
    main()
