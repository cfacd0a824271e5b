"""Recipe → data, model, tasks: the only place where they meet. Heavy modules are imported when needed."""

import warnings
from collections.abc import Collection, Iterable

from visiontasks.errors import RecipeError, UserError, under
from visiontasks.preprocess import Preprocess
from visiontasks.recipe import checking
from visiontasks.recipe.reading import read
from visiontasks.recipe.schema import Recipe, recipe_paths
from visiontasks.registry import catalog
from visiontasks.sample import prefix
from visiontasks.skeleton import Skeleton
from visiontasks.training.devices import cores
from visiontasks.weights.pretrained import Pretrained

MOST_WORKERS = 8  # more workers mostly wait for each other


def recipe(
    name: str, overrides: list[str] | tuple[str, ...] = (), data: str | None = None, known: bool = False
) -> tuple[Recipe, str]:
    """A checked recipe, and a sentence on the folder `data` if one is given.

    Args:
        name: a shipped recipe's name, or the path of a YAML file.
        overrides: of its keys.
        data: the folder.
        known: as that of `detect`.

    Raises:
        UserError: the recipe, an override or the folder is wrong.
    """
    splits, message = None, ""
    if data is not None:
        from visiontasks.data.detect import TEST_USED, detect, inherit
        from visiontasks.recipe.found import serve_both

        before = read(name, overrides)
        splits, message = detect(data, fields(before), known)
        if TEST_USED in message and by_gradients(before):
            message += " The best checkpoint is chosen on it."
        # a run that is evaluated or trained on other data reads them as its own
        splits = {key: split and inherit(split, before.data.train) for key, split in splits.items()}
        splits, overrides, note = serve_both(splits, overrides)
        message += f" Note: {note}." if note else ""
    made = read(name, overrides, data=splits)
    check(made)
    return made, message


def check(recipe: Recipe):
    """Check a recipe and every part of it, importing neither Keras nor the parts.

    Raises:
        RecipeError: see `checking.check`, `pretrained` and `check_augment`.
    """
    checking.check(recipe)
    _check_alone(recipe)
    pretrained(recipe)
    if recipe.data.augment:
        from visiontasks.data.transforms import check_augment

        with under("data"):
            check_augment(recipe.data.augment)


def by_gradients(recipe: Recipe) -> bool:
    """Whether a recipe is trained by gradients; otherwise its head is fitted by statistics, in one pass."""
    return all(catalog.find("heads", part["name"]).by_gradients for part in recipe.parts.values())


def _check_alone(recipe):
    """Raise unless all heads look at one object that fills the image, or none does and `data.resize` is not object."""
    for name, spec in recipe.parts.items():
        alone = catalog.find("heads", spec["name"]).alone
        if alone != (recipe.data.resize == "object"):
            expected = (
                "object, because head {!r} looks at one object an image" if alone else "another mode for head {!r}"
            )
            raise RecipeError(
                f"expected {expected.format(name)}, got {recipe.data.resize!r}; set it so"
                + (", or train that head alone." if len(recipe.parts) > 1 else "."),
                "data.resize",
            )


def fields(recipe: Recipe, given: Iterable[str] = ()) -> tuple[str, ...]:
    """The fields that a recipe's heads learn from, in data that have the fields `given`, and are scored by if given."""
    found = {}
    for name, learned in _fields(recipe, given).items():
        label_set = learned[0].rpartition("/")[0]
        scoring = (f"{label_set}/{field}".lstrip("/") for field in checking.head(recipe, name).scoring_fields)
        found |= dict.fromkeys([*learned, *(field for field in scoring if field in given)])
    return tuple(found)


def _fields(recipe, given) -> dict[str, list[str]]:
    """{head name: the fields that it learns from}."""
    by_head = {name: checking.head(recipe, name).fields(spec) for name, spec in recipe.parts.items()}
    # those of a head that learns a label set have its name already
    return {name: [prefix(those, None, given) + field for field in those] for name, those in by_head.items()}


@recipe_paths()
def loaders(recipe: Recipe, share: tuple[int, int] = (0, 1)):
    """The training and the validation Loader of a recipe; `share` as that of `load_data`.

    Raises:
        UserError: the recipe has no data, the data are wrong, or lack fields that a head learns from.
    """
    from visiontasks.data.load import load_data

    train, val = sources(recipe)
    loading = _loading(recipe, {"train": train, "val": val})
    return load_data((train, val), augment=recipe.data.augment, sizes=recipe.data.sizes, share=share, **loading)


@recipe_paths()
def sources(recipe: Recipe, data=None):
    """The training and the validation Source of a recipe, or of other data as `load_data` takes them.

    Raises:
        UserError: as for `loaders`.
    """
    from visiontasks.data.load import load_sources

    data = _parts(recipe) if data is None else data
    train, val = load_sources(data, fields(recipe), recipe.data.split, recipe.run.seed)
    _check_fields(recipe, {"train": train, "val": val}, train.fields)
    return train, val


def _parts(recipe):
    if recipe.data.train is None:
        raise RecipeError("data.train: this recipe has none; give a folder with data=DIR.")
    return {"train": recipe.data.train, "val": recipe.data.val}


def _loading(recipe, sources):
    """The arguments of `load_data`, for the training and the validation set or one of them."""
    d, given = recipe.data, next(iter(sources.values())).fields
    _check_fields(recipe, sources, given)
    return dict(
        fields=fields(recipe, given),
        size=tuple(d.size),
        batch=d.batch,
        resize=d.resize,
        seed=recipe.run.seed,
        workers=min(MOST_WORKERS, cores()) if d.workers is None else d.workers,
        worker_kind=d.worker_kind,
        max_objects=d.max_objects,
        mask_size=d.mask_size,
        bits=d.bits,
    )


def _check_fields(recipe, sources, given):
    for name, needed in _fields(recipe, given).items():
        for part, source in sources.items():
            lacking = sorted(set(needed) - source.fields)
            if lacking:
                raise RecipeError(
                    f"data.{part}: head {name!r} learns from {lacking}, but the data give "
                    f"{sorted(source.fields)}. Choose a recipe for those labels, or another folder. (The "
                    "name before / is a source's `set` and a head's `learns`.)"
                    + (f"\n{source.report}" if source.report else "")
                )


@recipe_paths()
def validation(recipe: Recipe, heads: Collection, whole: bool = False):
    """The validation Loader of a recipe, for a model with these heads.

    Args:
        recipe: the recipe.
        heads: a source that takes class names gets theirs, so that a set without objects of a class numbers the others
            as the model does.
        whole: without a validation set, use all images instead of a share of them.

    Raises:
        UserError: the data are wrong, or their classes are not the model's.
    """
    from visiontasks.data.bit_depth import settle_bits
    from visiontasks.data.detect import inherit
    from visiontasks.data.load import load_source, load_sources
    from visiontasks.data.pipeline import Loader
    from visiontasks.model_arrays import check_names

    parts = _parts(recipe)
    train, val = parts["train"], parts["val"] and inherit(parts["val"], parts["train"])
    # a head without `learns` finds its label set by the data's fields
    given = ()
    if any("set" in one for one in _entries(val or train)):
        given = load_source(val or train, "val" if val else "train").fields
    classes = {head.prefix(given) + head.fields[0]: head.classes for head in heads if not head.numbered}
    if val:  # read as in training: with the training set's mask values and separators
        # the training set is read only if it matters: one source without `names` knows all of its classes
        whole_set = isinstance(train, dict) and "names" not in train or all("names" in one for one in _entries(val))
        partial = () if whole_set else load_source(train, "train").partial
        source = load_source(val, "val", classes, partial)
    else:
        source = load_source(train, "train", classes)
        if not whole:
            source = load_sources({"train": source}, (), recipe.data.split, recipe.run.seed)[1]
    loading = _loading(recipe, {"val": source})
    settle_bits([source], loading.pop("bits"))
    loader = Loader(source, **loading)
    check_names(heads, loader)
    return loader


def _entries(split) -> list[dict]:
    """The {source: …} of a split, which may be a list of them, or of lists."""
    return [entry for one in split for entry in _entries(one)] if isinstance(split, list) else [split]


def head(spec: dict, names: tuple[str, ...] | None, skeleton: Skeleton | None = None):
    """One head, with the data's class names and skeleton; without data, with the recipe's classes.

    Raises:
        RecipeError: no classes are known, or the recipe says others than the data have, or in another order.
    """
    arguments = {key: value for key, value in spec.items() if key != "name"}
    classes = arguments.pop("classes", None)
    if names is not None:
        if classes not in (None, len(names)) and (isinstance(classes, int) or tuple(classes) != tuple(names)):
            raise RecipeError(
                f"expected the data's {len(names)} classes, in this order: {list(names)}; got {classes!r}. Leave "
                "classes out; many sources take names=[…] in the order that you want.",
                "classes",
            )
        classes = names
    if classes is None:
        raise RecipeError("unknown without data; give their number or a list of names.", "classes")
    if skeleton is not None:
        arguments.setdefault("skeleton", skeleton)
    return catalog.find("heads", spec["name"]).load()(classes=classes, **arguments)


def model(recipe: Recipe, loader=None):
    """The VisionModel of a recipe, not compiled.

    Args:
        recipe: the recipe.
        loader: a Loader of its data, which gives the class names; None without data.

    Raises:
        UserError: a head does not fit the backbone, or the image size is not a multiple of the stride.
    """
    from visiontasks.model import VisionModel

    weights = pretrained(recipe)
    name, spec = recipe.backbone["name"], weights.backbone_arguments
    size = (None, None) if recipe.data.sizes else recipe.data.size
    spec.setdefault("input_shape", (*size, 3))
    try:
        with warnings.catch_warnings():
            if recipe.weights is not None or recipe.init is not None:  # they include the frozen norms' statistics
                warnings.filterwarnings("ignore", message="norm: frozen_batch with random weights")
            with under("backbone"):
                backbone = catalog.find("backbones", name).load()(**spec)
    except UserError:
        raise
    except (ValueError, TypeError) as error:
        raise UserError(f"backbone: {name} rejects its arguments: {error}") from error
    heads, dense_layers = {}, {}
    for key, part in recipe.parts.items():
        where = "head" if recipe.head is not None else f"heads.{key}"
        arguments, dense_layers[key] = weights.classifier(key)
        learned = catalog.find("heads", part["name"]).fields(part)
        given = loader and loader.names.get(prefix(learned, None, loader.fields) + learned[0])
        points = next((name for name in learned if name.rpartition("/")[2] == "keypoints"), None)
        skeleton = weights.skeleton
        if loader and points:
            skeleton = Skeleton.of(loader.names[prefix(learned, None, loader.fields) + points])
        if given and "classes" in arguments:  # a checkpoint's; the data may have other names for them
            arguments["classes"] = len(arguments["classes"])
        try:
            with under(where):
                heads[key] = head(part | arguments, given or weights.class_names(key), skeleton)
        except UserError:
            raise
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{where}.{error}") from error
    try:
        built = VisionModel(
            backbone,
            next(iter(heads.values())) if recipe.head is not None else heads,
            loss_weights=recipe.train.loss_weights or None,
            preprocess=Preprocess(recipe.data.size, recipe.data.resize, loader.bits if loader else None).get_config(),
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    for key, layers in dense_layers.items():
        try:
            if layers:
                heads[key].set_dense_layers(layers)
        except ValueError as error:
            raise UserError(
                f"data.size: {list(recipe.data.size)} does not fit the checkpoint's {error} They need the image "
                "size of the checkpoint's training, such as data.size=[224,224]."
            ) from error
    for size in (recipe.data.size, *recipe.data.sizes):
        check_size(built, tuple(size))
    for line in weights.load(built):
        warnings.warn(f"weights: {line}", stacklevel=2)
    return built


def check_size(model, size: tuple[int, int]):
    """Raise unless the strides of a spatial head's levels divide the image size.

    Raises:
        RecipeError: names the nearest size that fits.
    """
    if any(n % model.stride for n in size):
        nearest = [max(1, round(n / model.stride)) * model.stride for n in size]
        raise RecipeError(
            f"data.size: {list(size)} is not divisible by {model.stride}, the stride of the deepest level that the "
            f"head uses; the nearest size that is: data.size={nearest}."
        )


def pretrained(recipe: Recipe) -> Pretrained:
    """The weights that a recipe's parts start from."""
    return Pretrained(recipe.weights, recipe.backbone, recipe.parts)


def check_complete(recipe: Recipe):
    """Raise unless a recipe has all weights without training.

    Raises:
        UserError: some weights must be trained.
    """
    if recipe.init is not None:
        raise UserError("a recipe starts a training with it; give run= of a trained run instead.", "init")
    if not pretrained(recipe).complete:
        raise UserError(
            f"recipe: {recipe.name} has weights that must be trained, so it cannot predict yet. Train it "
            f"(python -m visiontasks.train recipe={recipe.name}) and give run=DIR."
        )
