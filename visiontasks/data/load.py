"""`load_data`: from a folder, a recipe's words or Sources to a training and a validation Loader."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.data.detect import detect, inherit, same_pictures
from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.source import Source, Subset
from visiontasks.errors import DataError, RecipeError
from visiontasks.recipe import catalog

# what a loader carries unless it is told; each object's own mask or keypoints would fill a batch
DEFAULT_FIELDS = ("label", "tags", "mask", "classes", "boxes")


def load_data(
    data: str | Path | dict | Source | tuple[Source, Source | None],
    *,
    size: tuple[int, int] = (256, 256),
    batch: int = 8,
    fields: Sequence[str] | None = None,
    augment: Sequence = (),
    resize: str = "stretch",
    split: float = 0.2,
    seed: int = 0,
    workers: int = 2,
    worker_kind: str = "threads",
    max_objects: int = 100,
    sizes: Sequence[tuple[int, int]] = (),
) -> tuple[Loader, Loader]:
    """A training and a validation Loader of one data set.

    Both have the training part's class names. A validation picture that is also a training picture is noted in the
    validation source's report.

    Args:
        data: a folder, whose layout says which source reads it; {"train": part, "val": part or None}, a part being
            {"source": name, its arguments} or a Source; a Source; or a pair of them.
        fields: the labels in a batch; by default those of label, tags, mask, classes and boxes that the training part
            has.
        split: the share kept for validation where there is no validation part, above 0 and below 1; `seed` picks it.
        size, batch, augment, resize, seed, workers, worker_kind, max_objects, sizes: as `Loader` takes them.

    Raises:
        DataError: the folder is laid out for no source, or the two parts have different classes.
        RecipeError: an argument is wrong; the text names it.
    """
    train, val = load_sources(data, fields or (), split, seed)
    fields = tuple(name for name in DEFAULT_FIELDS if name in train.fields) if fields is None else tuple(fields)
    _same_names(train, val, fields)
    same_pictures(train, val)
    common = dict(
        fields=fields,
        size=size,
        batch=batch,
        resize=resize,
        seed=seed,
        workers=workers,
        worker_kind=worker_kind,
        max_objects=max_objects,
        names=train.names,
    )
    return Loader(train, training=True, augment=augment, sizes=sizes, **common), Loader(val, **common)


def load_sources(data, fields: Sequence[str], split: float, seed: int) -> tuple[Source, Source]:
    """The training and the validation Source of one data set; arguments and errors are those of `load_data`."""
    if isinstance(data, (str, Path)):
        data, _ = detect(data, fields)
    if isinstance(data, Source):
        data = {"train": data}
    elif isinstance(data, (tuple, list)) and len(data) == 2:
        data = dict(zip(("train", "val"), data, strict=True))
    if not isinstance(data, dict) or not set(data) <= {"train", "val"} or data.get("train") is None:
        raise RecipeError(f"data: expected a folder, a Source, a pair of them or {{train: …, val: …}}; got {data!r}.")
    train = load_source(data["train"], "data.train")
    val = data.get("val")
    if val is None:
        return _split(train, split, seed)
    return train, load_source(inherit(val, data["train"]), "data.val", train.names)


def load_source(part, where: str, names: dict[str, Sequence[str]] | None = None) -> Source:
    """The Source that a part stands for; `names` are given to one that takes class names and was given none."""
    if isinstance(part, Source):
        return part
    if not isinstance(part, dict) or "source" not in part:
        raise RecipeError(f"{where}: expected {{source: NAME, its arguments}} or a Source, got {part!r}.")
    arguments = {key: value for key, value in part.items() if key != "source"}
    found = catalog.find("data/sources", part["source"], f"{where}.source")
    catalog.check_arguments(found, arguments, where)
    kinds = {classes for field, classes in (names or {}).items() if field != "keypoints"}  # those name points
    if len(kinds) == 1 and "names" not in arguments and any(a.name == "names" for a in found.arguments):
        arguments["names"] = list(*kinds)  # a part that lacks a class would number the others differently
    return found.load()(**arguments)


def _split(source: Source, share: float, seed: int) -> tuple[Subset, Subset]:
    if not 0 < share < 1:
        raise RecipeError(f"data.split: expected a share above 0 and below 1, got {share}.")
    if len(source) < 2:
        raise DataError(f"data: expected at least 2 pictures to split into two parts, got {len(source)}.")
    order = np.random.default_rng(seed % 2**32).permutation(len(source))
    count = min(max(1, round(len(source) * share)), len(source) - 1)
    # in the source's own order, so that neighbours on disk are read one after the other
    return Subset(source, sorted(order[count:].tolist())), Subset(source, sorted(order[:count].tolist()))


def _same_names(train: Source, val: Source, fields):
    for field in fields:
        ours, theirs = tuple(train.names.get(field, ())), tuple(val.names.get(field, ()))
        if ours and theirs and ours != theirs:
            raise DataError(
                f"data.val: its classes for {field!r} are not the training part's: {list(theirs)} instead of "
                f"{list(ours)}. Give both parts the same classes in the same order."
            )
