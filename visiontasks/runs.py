"""Runs of training that begin, and runs that were stopped and go on."""

from pathlib import Path

import visiontasks
from visiontasks import build
from visiontasks.data.fingerprints import write_fingerprints
from visiontasks.data.stamps import changes, digest, read_stamps, stamps, write_stamps
from visiontasks.errors import UserError
from visiontasks.evaluation.results import write_json
from visiontasks.recipe.differences import differences, resumed_recipe
from visiontasks.recipe.schema import Recipe, recipe_paths
from visiontasks.training.run_directory import RunDirectory
from visiontasks.writing import write_text


def stamped(recipe: Recipe) -> dict[str, list]:
    """The files of a recipe's data, with fingerprints of their contents: taken before training reads them."""
    return stamps([recipe.data.train, recipe.data.val], contents=True)


@recipe_paths()
def check_optimizer(recipe: Recipe):
    """Raise before a run begins what Keras rejects of its optimizer; all processes that train together make it.

    Raises:
        UserError: Keras rejects it.
    """
    from visiontasks.training.optimizers import optimizer

    t = recipe.train
    optimizer(t.optimizer, t.schedule, 1, 1, t.clip_norm, t.ema)


@recipe_paths()
def begin(recipe: Recipe, train_set, files: dict[str, list], started: dict | None = None) -> RunDirectory:
    """A new run's folder with what is known before the first step; this process holds it.

    Args:
        recipe: the recipe, resolved.
        train_set: the training Loader.
        files: of `stamped`.
        started: what its summary says from the beginning on, such as the weights that it starts from.

    Raises:
        UserError: the folder cannot be written.
    """
    run = RunDirectory.create(Path(recipe.run.dir), recipe.name)
    run.hold()
    write_text(run.recipe, recipe.to_yaml(), "dir")
    write_fingerprints(run.trained_on, train_set.source, {path: mark for path, (_, _, mark) in files.items()})
    write_stamps(run.data, files, _names(train_set))
    if started:
        write_json(run.summary, {**started, "recipe": recipe.name})
    return run


def resumed(
    place: str, name: str | None, overrides: list[str], data: str | None, hold: bool = True
) -> tuple[RunDirectory, Recipe]:
    """The run to go on with, which this process holds, and its recipe.

    Args:
        place: the run's folder or one that holds several; "true" is that of the recipe, or "runs".
        name, overrides, data: what is asked for besides, as for `build.recipe`; it must not differ.
        hold: as that of `RunDirectory.resumable`.

    Raises:
        UserError: there is no such run, another process is training it, or another recipe or folder is asked for.
    """
    asked = build.recipe(name, overrides, data)[0] if name else None
    if place.lower() == "true":
        given = dict(one.split("=", 1) for one in overrides)
        place = Path(asked.run.dir) / asked.name if asked else given.get("run.dir", "runs")
    elif any(one.startswith("run.dir=") for one in overrides):
        raise UserError(
            f"resume={place} already says where the run is. Leave run.dir out, or give resume=true, which looks in "
            "run.dir.",
            "run.dir",
        )
    run = RunDirectory.resumable(place, hold)
    before, _ = build.recipe(str(run.recipe))
    asked = asked or build.recipe(str(run.recipe), overrides, data)[0]
    if found := differences(before, asked):
        raise UserError(
            f"{run.path} was begun with another recipe: {'; '.join(found)}. Resume it with resume={run.path} alone, or "
            "start a new run.",
            "resume",
        )
    return run, resumed_recipe(before, asked).replace(name=run.path.resolve().parent.name)


def check_same_data(run: RunDirectory, recipe: Recipe, train_set, contents: bool):
    """Raise unless the data are those that a run was begun with.

    Args:
        run: the run.
        recipe: its recipe.
        train_set: the training Loader.
        contents: whether to compare all contents; otherwise those of files whose size or time differs.

    Raises:
        UserError: names what has changed.
    """
    files, names = read_stamps(run.data)
    now = _names(train_set)
    found = [f"{key}: {names.get(key)}, now {now.get(key)}" for key in names | now if names.get(key) != now.get(key)]
    if text := "; ".join(found) or changes(files, stamps([recipe.data.train, recipe.data.val], contents)):
        raise UserError(
            f"the data of {run.path} have changed since it began: {text}. Restore them, or start a new run.", "resume"
        )


def facts(recipe: Recipe, train_set, val_set, run: RunDirectory | None) -> dict[str, str]:
    """What must be the same in all processes that train together, as texts.

    Args:
        recipe: the recipe.
        train_set, val_set: the Loaders.
        run: the run that goes on, if one does.
    """
    import jax
    import keras

    stated = {
        "recipe": recipe.to_yaml(),
        "number of training images": str(len(train_set.source)),
        "number of validation images": str(len(val_set.source)),
        "training files": digest(stamps(recipe.data.train)),
        "validation files": digest(stamps(recipe.data.val)),
    }
    stated |= {
        "classes": str(_names(train_set)),
        "version of Keras": keras.__version__,
        "version of JAX": jax.__version__,
        "platform": jax.default_backend(),
        "version": visiontasks.__version__,
    }
    return stated | ({"run": str(run.path)} if run else {})


def seen_by_all(run: RunDirectory | None, processes) -> RunDirectory:
    """The run's folder, which the first of several processes has made and gives, in each of them.

    Raises:
        UserError: another process does not see it.
    """
    path = Path(processes.of_first(str(run.path.absolute()) if run else None))
    if run is None and not path.is_dir():
        raise UserError(
            f"expected a folder that all machines see; process {processes.index} does not see {path}.", "dir"
        )
    return run or RunDirectory(path)


def _names(train_set):
    return {name: list(values) for name, values in train_set.names.items()}
