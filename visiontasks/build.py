"""Recipe → data, model, tasks: the one place where they meet. Nothing heavy is imported until it is needed."""

import importlib
import warnings
from pathlib import Path

from visiontasks.errors import DataError, RecipeError, UserError
from visiontasks.recipe import catalog, checking
from visiontasks.recipe.checking import ALL_CLASSES
from visiontasks.recipe.reading import read
from visiontasks.recipe.schema import Recipe
from visiontasks.training.devices import cores

MOST_WORKERS = 8  # more seldom wait for anything but each other


def recipe(name: str, overrides: list[str] | tuple[str, ...] = (), data: str | None = None) -> tuple[Recipe, str]:
    """A checked recipe, and a sentence on the folder `data` where one was given.

    Raises:
        UserError: the recipe, an override or the folder is wrong.
    """
    found, said = None, ""
    if data is not None:
        from visiontasks.data.detect import detect, inherit

        before = read(name, overrides)
        found, said = detect(data, wanted=fields(before))
        # a run that is scored or trained again on other data reads them as it read its own
        found = {part: spec and inherit(spec, before.data.train) for part, spec in found.items()}
    made = read(name, overrides, data=found)
    check(made)
    return made, said


def check(recipe: Recipe):
    """Check a recipe and every part of it, importing neither Keras nor the parts.

    Raises:
        RecipeError: see `checking.check`, `check_augment` and `coco.find`.
    """
    checking.check(recipe)
    if recipe.weights is not None:
        from visiontasks.weights import coco

        coco.find(recipe.weights, recipe.backbone, recipe.parts)
    if recipe.data.augment:
        from visiontasks.data.transforms import check_augment

        check_augment(recipe.data.augment)


def fields(recipe: Recipe) -> tuple[str, ...]:
    """The Sample fields that a recipe's heads learn from."""
    wanted = {}
    for name, spec in recipe.parts.items():
        wanted |= dict.fromkeys(checking.head(recipe, name).fields(spec))
    return tuple(wanted)


def backbone(name: str, **arguments):
    """A backbone by its recipe name: keras.Model from uint8 pictures (B, H, W, 3) to {"C1": …, "C5": …}.

    Args:
        name: such as "resnet50" or "efficientnet_lite0".
        **arguments: the constructor's, such as weights="imagenet" (or a path, or None) and input_shape=(256, 256, 3).

    Raises:
        RecipeError: an unknown name or argument, with the near one.
    """
    part = catalog.find("backbones", name)
    catalog.check_arguments(part, arguments, name)
    import visiontasks.model  # noqa: F401  so that `weights` may be a saved VisionModel

    return part.load()(**arguments)


def from_recipe(name: str, *overrides: str, data: str | None = None):
    """The VisionModel of a recipe, with the weights it starts from: `from_recipe("imagenet")` predicts at once.

    Args:
        name: a shipped recipe's name, or the path of a YAML file.
        *overrides: "backbone.name=resnet50" and the like.
        data: a folder of pictures that gives the class names, for a recipe whose heads do not say them.
    """
    made, _ = recipe(name, overrides, data)
    if data is None and is_complete(made):  # its weights know their classes: no data set need be read for them
        return model(made)
    if made.data.train is not None and any("classes" not in part for part in made.parts.values()):
        return model(made, loaders(made)[0].names)
    return model(made)


def loaders(recipe: Recipe):
    """The training and the validation Loader of a recipe.

    Raises:
        UserError: the recipe has no data, the data are wrong, or lack what the only head learns from.
    """
    from visiontasks.data.load import load_data, load_sources

    train, val = load_sources(_parts(recipe), fields(recipe), recipe.data.split, recipe.run.seed)
    _check_fields(recipe, {"train": train, "val": val})
    return load_data((train, val), augment=recipe.data.augment, sizes=recipe.data.sizes, **_loading(recipe))


def _parts(recipe):
    if recipe.data.train is None:
        raise RecipeError("data.train: this recipe has none; give a folder with data=DIR.")
    return {"train": recipe.data.train, "val": recipe.data.val}


def _loading(recipe):
    d = recipe.data
    return dict(
        fields=fields(recipe),
        size=tuple(d.size),
        batch=d.batch,
        resize=d.resize,
        seed=recipe.run.seed,
        workers=min(MOST_WORKERS, cores()) if d.workers is None else d.workers,
        worker_kind=d.worker_kind,
        max_objects=d.max_objects,
    )


def _check_fields(recipe, sources):
    for name, spec in recipe.parts.items():
        needed = checking.head(recipe, name).fields(spec)
        for part, source in sources.items():
            lacking = sorted(set(needed) - source.fields)
            if lacking:
                raise RecipeError(
                    f"data.{part}: head {name!r} learns from {lacking}, but the data give "
                    f"{sorted(source.fields)}. Choose a recipe for those labels, or another folder."
                )


def validation(recipe: Recipe, classes: dict[str, tuple[str, ...]], whole: bool = False):
    """The validation Loader of a recipe, for a model that knows `classes` by Sample field.

    Args:
        recipe: the recipe.
        classes: the model's class names by field; a source that takes names is given them, so that a part which
            lacks a class does not number the others differently.
        whole: where there is no validation part, take all pictures rather than a share of them.

    Raises:
        UserError: the data are wrong, or their classes are not the model's.
    """
    from visiontasks.data.detect import inherit
    from visiontasks.data.load import load_source, load_sources
    from visiontasks.data.pipeline import Loader

    parts = _parts(recipe)
    if parts["val"] is not None:  # read as training read it: with the training part's mask values and separators
        source = load_source(inherit(parts["val"], parts["train"]), "data.val", classes)
    else:
        source = load_source(parts["train"], "data.train", classes)
        if not whole:
            source = load_sources({"train": source}, (), recipe.data.split, recipe.run.seed)[1]
    _check_fields(recipe, {"val": source})
    loader = Loader(source, **_loading(recipe))
    _check_names(loader, classes)
    return loader


def _check_names(loader, classes, hint=""):
    for field, expected in classes.items():
        came = tuple(loader.names.get(field, ()))
        if came != tuple(expected):
            raise DataError(
                f"data: the run knows {list(expected)} as its {field} classes, the data have {list(came)}.{hint}"
            )


def head(spec: dict, names: tuple[str, ...] | None, where: str):
    """One head, its classes filled in from the data's names unless the recipe says them.

    Raises:
        RecipeError: no classes are known, or the recipe's and the data's differ in number.
    """
    arguments = {key: value for key, value in spec.items() if key != "name"}
    classes = arguments.pop("classes", None)
    if classes is None:
        classes = names
    elif names is not None and len(names) != (classes if isinstance(classes, int) else len(classes)):
        raise RecipeError(f"{where}.classes: the recipe says {classes!r}, the data have {len(names)}: {list(names)}.")
    if classes is None:
        raise RecipeError(f"{where}.classes: unknown without data; give {where}.classes=N or a list of names.")
    return catalog.find("heads", spec["name"]).load()(classes=classes, **arguments)


def model(recipe: Recipe, names: dict[str, tuple[str, ...]] | None = None):
    """The VisionModel of a recipe, not compiled.

    Args:
        recipe: the recipe.
        names: class names by Sample field, from the data; None without data.

    Raises:
        UserError: a head does not fit the backbone, or the size its stride.
    """
    from visiontasks.model import VisionModel
    from visiontasks.weights import coco

    spec = dict(recipe.backbone)
    name = spec.pop("name")
    sides = (None, None) if recipe.data.sizes else recipe.data.size
    spec.setdefault("input_shape", (*sides, 3))
    try:
        with warnings.catch_warnings():
            if recipe.weights is not None:  # the backbone's come with them, and its frozen norms' statistics
                spec["weights"] = None
                warnings.filterwarnings("ignore", message="norm: frozen_batch with random weights")
            backbone = catalog.find("backbones", name).load()(**spec)
    except (ValueError, TypeError) as error:
        raise UserError(f"backbone: {name} refuses its arguments: {error}") from error
    heads, dense_layers = {}, {}
    for key, part in recipe.parts.items():
        where = "head" if recipe.head is not None else f"heads.{key}"
        part = {"name": part["name"], **part}
        if part.get("classes") == ALL_CLASSES:
            from visiontasks.weights.imagenet import imagenet_classifier

            own, dense_layers[key] = imagenet_classifier(name, spec.get("weights"), part.get("tap"))
            part |= own
        field = catalog.find("heads", part["name"]).fields(part)[0]
        known = (names or {}).get(field)
        if known is None and recipe.weights == coco.NAME and part.get("classes") is None:
            known = tuple(coco.class_ids())
        try:
            heads[key] = head(part, known, where)
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{where}.{error}") from error
    try:
        built = VisionModel(
            backbone,
            next(iter(heads.values())) if recipe.head is not None else heads,
            loss_weights=recipe.train.loss_weights or None,
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    for key, layers in dense_layers.items():
        try:
            heads[key].set_dense_layers(layers)
        except ValueError as error:
            raise UserError(
                f"data.size: {list(recipe.data.size)} does not fit the checkpoint's own {error} They are for the size "
                "that the checkpoint was trained at, such as data.size=[224,224]."
            ) from error
    for size in (recipe.data.size, *recipe.data.sizes):
        check_size(built, tuple(size))
    if recipe.weights is not None:
        for line in coco.load(built, coco.find(recipe.weights, recipe.backbone, recipe.parts), recipe.weights):
            warnings.warn(f"weights: {line}", stacklevel=2)
    return built


def check_size(model, size: tuple[int, int]):
    """Raise unless the strides of the levels that a head with a spatial answer taps divide the size.

    Raises:
        RecipeError: naming the nearest size that fits.
    """
    if any(n % model.stride for n in size):
        nearest = [max(1, round(n / model.stride)) * model.stride for n in size]
        raise RecipeError(
            f"data.size: {list(size)} is not divisible by {model.stride}, the stride of the deepest level that the "
            f"head uses; the nearest that is: data.size={nearest}."
        )


def tasks(model) -> dict:
    """{head name: Task} of a VisionModel, with the heads' class names."""
    made = {}
    for name, head in model.heads.items():
        made[name] = _task(head.task)(head.classes)
    return made


def score(model, loader) -> dict[str, float]:
    """A VisionModel's figures on a Loader, as `python -m visiontasks.evaluate` gives them.

    In the pictures' own pixels: pycocotools' AP for boxes, IoU for masks, and so on.

    Returns:
        {metric: value}; with several heads {"HEAD/metric": value}; a class's own figure is such as "ap/NAME".

    Raises:
        DataError: the loader's classes are others than a head's, or in another order. (Of a head that was made with a
            number of classes only their number counts.)
    """
    from visiontasks.evaluation.evaluator import evaluate

    for part in model.heads.values():
        field = part.fields[0]
        known = loader.names.get(field, ())
        if tuple(part.classes) != tuple(map(str, range(len(known)))):
            _check_names(loader, {field: part.classes}, " Give its source names=[…], the model's, in their order.")
    return evaluate(model, loader, tasks(model)).figures


def _task(name):
    return getattr(importlib.import_module(f"visiontasks.evaluation.tasks.{name}"), name.title().replace("_", ""))


def is_complete(recipe: Recipe) -> bool:
    """Whether a recipe's weights are all there before training, so that it can predict."""
    if recipe.weights is not None:
        from visiontasks.weights import coco

        return all(coco.knows(recipe.weights, part.get("classes")) for part in recipe.parts.values())
    return recipe.backbone.get("weights") is not None and all(
        part.get("classes") == ALL_CLASSES for part in recipe.parts.values()
    )


def check_complete(recipe: Recipe):
    """Raise unless a recipe's weights are all there before training.

    Raises:
        UserError: they are not.
    """
    if not is_complete(recipe):
        raise UserError(
            f"recipe: {recipe.name} has weights to be learnt, so it has no answers yet. Train it "
            f"(python -m visiontasks.train recipe={recipe.name}) and give run=DIR."
        )


def load_model(path: str | Path, compile: bool = True):
    """A saved VisionModel, whole: `keras.saving.load_model` with this package's classes known.

    Args:
        path: a `.keras` file.
        compile: take up the optimizer too, to train on; predicting needs none.
    """
    import keras

    import visiontasks.model  # noqa: F401  registers VisionModel, which imports the rest by itself

    return keras.saving.load_model(path, compile=compile)
