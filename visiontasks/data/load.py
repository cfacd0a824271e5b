"""`load_data`: a training and a validation Loader from a folder, a recipe's words or Sources."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.data.detect import detect, inherit, same_images
from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.source import Source, Subset
from visiontasks.errors import DataError, RecipeError, under
from visiontasks.registry import catalog

# what a batch contains by default; instance masks and keypoints would fill it
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

    Both use the training set's class names. A validation image that is also a training image is noted in the
    validation source's report.

    Args:
        data: a folder, whose layout decides which source reads it; {"train": split, "val": split or None}, where a
            split is {"source": name, its arguments} or a Source; a Source; or a pair of Sources.
        fields: the labels in a batch; by default those of label, tags, mask, classes and boxes that the training set
            has.
        split: the share used for validation if there is no validation set, above 0 and below 1; chosen by `seed`.
        size, batch, augment, resize, seed, workers, worker_kind, max_objects, sizes: arguments of `Loader`.
    Raises:
        DataError: no source recognizes the folder's layout, or training and validation set have different classes.
        RecipeError: an argument is wrong; the text names it.
    """
    train, val = load_sources(data, fields or (), split, seed)
    fields = tuple(name for name in DEFAULT_FIELDS if name in train.fields) if fields is None else tuple(fields)
    _same_names(train, val, fields)
    same_images(train, val)
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
    """The training and validation Source of one data set; arguments and errors as in `load_data`."""
    if isinstance(data, (str, Path)):
        data, _ = detect(data, fields)
    if isinstance(data, Source):
        data = {"train": data}
    elif isinstance(data, (tuple, list)) and len(data) == 2:
        data = dict(zip(("train", "val"), data, strict=True))
    if not isinstance(data, dict) or not set(data) <= {"train", "val"} or data.get("train") is None:
        raise RecipeError(f"expected a folder, a Source, a pair of them or {{train: …, val: …}}; got {data!r}.", "data")
    train = load_source(data["train"], "train")
    val = data.get("val")
    if val is None:
        return _split(train, split, seed)
    return train, load_source(inherit(val, data["train"]), "val", train.names)


def load_source(split, where: str, names: dict[str, Sequence[str]] | None = None) -> Source:
    """The Source that a split describes. It is given `names` if it takes class names and none are set."""
    if isinstance(split, Source):
        return split
    if not isinstance(split, dict) or "source" not in split:
        raise RecipeError(f"expected {{source: NAME, its arguments}} or a Source, got {split!r}.", where)
    arguments = {key: value for key, value in split.items() if key != "source"}
    part = catalog.find("data/sources", split["source"], f"{where}.source")
    catalog.check_arguments(part, arguments, where)
    kinds = {classes for field, classes in (names or {}).items() if field != "keypoints"}  # those name points
    if len(kinds) == 1 and "names" not in arguments and any(a.name == "names" for a in part.arguments):
        arguments["names"] = list(*kinds)  # a split that lacks a class would number the others differently
    with under(where):
        return part.load()(**arguments)


def _split(source: Source, share: float, seed: int) -> tuple[Subset, Subset]:
    if not 0 < share < 1:
        raise RecipeError(f"expected a share above 0 and below 1, got {share}.", "split")
    if len(source) < 2:
        raise DataError(f"expected at least 2 images to split into two sets, got {len(source)}.", "data")
    order = np.random.default_rng(seed % 2**32).permutation(len(source))
    count = min(max(1, round(len(source) * share)), len(source) - 1)
    # in the source's order, so that neighbors on disk are read one after the other
    return Subset(source, sorted(order[count:].tolist())), Subset(source, sorted(order[:count].tolist()))


def _same_names(train: Source, val: Source, fields):
    for field in fields:
        ours, theirs = tuple(train.names.get(field, ())), tuple(val.names.get(field, ()))
        if ours and theirs and ours != theirs:
            raise DataError(
                f"its classes for {field!r} are not the training set's: {list(theirs)} instead of "
                f"{list(ours)}. Give both sets the same classes in the same order.",
                "val",
            )
