"""`load_data`: a training and a validation Loader from a folder, a recipe's words or Sources."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from visiontasks.data.bit_depth import settle_bits
from visiontasks.data.class_lists import are_ids, in_order, is_id
from visiontasks.data.derived import Mixed, Named, Subset
from visiontasks.data.detect import detect, inherit, same_images
from visiontasks.data.pipeline import Loader
from visiontasks.data.room import make_room
from visiontasks.data.sources.source import Source
from visiontasks.data.table import parsed_once
from visiontasks.data.transforms import joined_images
from visiontasks.errors import DataError, RecipeError, under
from visiontasks.registry import catalog
from visiontasks.sample import by_set, named

# what a batch contains by default; instance masks and keypoints would fill it
DEFAULT_FIELDS = ("label", "tags", "mask", "classes", "boxes")
_LISTS = ("classes", "label", "tags")  # fields whose classes may be those of both sets


@parsed_once()
def load_data(
    data: str | Path | dict | list | Source | tuple[Source, Source | None],
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
    max_objects: int | None = None,
    mask_size: int = 112,
    sizes: Sequence[tuple[int, int]] = (),
    bits: int | None = None,
    share: tuple[int, int] = (0, 1),
) -> tuple[Loader, Loader]:
    """A training and a validation Loader of one data set.

    Both use the training set's class names, or those of both sets where the data list none, and have room for as many
    objects. What a folder was read as is printed; if several sources can read it, `fields` decides. A validation image
    that is also a training image is noted in the validation source's report.

    Args:
        data: a folder, whose layout decides which source reads it, or a file that describes it, such as a data.yaml or
            COCO's JSON; {"train": split, "val": split or None}, where a split is {"source": name, its arguments}, a
            Source, or a list of these, whose images are mixed; a list; a Source; or a pair of Sources. With "set" among
            the arguments a source's labels are in a label set of that name, so that two data sets keep their own
            classes.
        fields: the labels in a batch, such as boxes or vehicles/boxes; by default those of label, tags, mask, classes
            and boxes that the training set has, in all of its label sets.
        split: the share used for validation if there is no validation set, above 0 and below 1; chosen by `seed`.
        bits: of images of 16 bits, how many hold values, such as 12, see `read_image`; None: what the data need.
        share: (i, n): what process i of n reads, see `Loader`. Process 0 reads all of the validation set: it scores it.
        size, batch, augment, resize, seed, workers, worker_kind, max_objects, mask_size, sizes: arguments of `Loader`.

    Raises:
        DataError: no source recognizes the folder's layout, or training and validation set have different classes.
        RecipeError: an argument is wrong; the text names it.
    """
    if isinstance(data, (str, Path)):
        data, found = detect(data, fields or ())
        print(found)
    train, val = load_sources(data, fields or (), split, seed)
    if fields is None:
        sets = sorted(by_set(train.fields).items())
        given = train.fields - train.derived
        fields = [name for key, _ in sets for name in named(key, DEFAULT_FIELDS) if name in given]
        # a table gives a label only if no image has several tags, which may be so by chance
        fields = [name for name in fields if name in val.fields or name.rpartition("/")[2] != "label"]
    fields = tuple(fields)
    check_names(train, val, fields)
    same_images(train, val)
    settle_bits([train, val], bits)
    common = dict(
        fields=fields,
        size=size,
        batch=batch,
        resize=resize,
        seed=seed,
        workers=workers,
        worker_kind=worker_kind,
        max_objects=make_room([train, val], fields, max_objects, joined_images(augment))
        if resize != "object"
        else None,
        mask_size=mask_size,
        names=train.names,
    )
    return (
        Loader(train, training=True, augment=augment, sizes=sizes, share=share, **common),
        Loader(val, share=share if share[0] else (0, 1), **common),
    )


@parsed_once()
def load_sources(data, fields: Sequence[str], split: float, seed: int) -> tuple[Source, Source]:
    """The training and validation Source of one data set; arguments and errors as in `load_data`."""
    if isinstance(data, (str, Path)):
        data, _ = detect(data, fields)
    if isinstance(data, (Source, list)):
        data = {"train": data}
    elif isinstance(data, tuple) and len(data) == 2:
        data = dict(zip(("train", "val"), data, strict=True))
    if not isinstance(data, dict) or not set(data) <= {"train", "val"} or data.get("train") is None:
        raise RecipeError(f"expected a folder, a Source, a pair of them or {{train: …, val: …}}; got {data!r}.", "data")
    train = load_source(data["train"], "train")
    val = data.get("val")
    if val is None:
        return _split(train, split, seed)
    try:
        return train, load_source(inherit(val, data["train"]), "val", train.names, train.partial)
    except DataError as error:
        _, _, name = (error.argument or "").partition(".")
        if name != "names" or not isinstance(val, dict) or "names" in val or not isinstance(data["train"], dict):
            raise
        if not train.names.keys() & set(_LISTS):  # masks, whose numbers are the classes
            raise
        if "names" in data["train"]:
            error.argument = f"train.{name}"  # they serve both
            raise
    return _with_joint_names(data["train"], val, train)


def _with_joint_names(train_split, val_split, train) -> tuple[Source, Source]:
    """Both sets of a data set that lists its classes nowhere, with the classes of both; those of one are reported."""
    val = load_source(inherit(val_split, train_split), "val")
    field = next(name for name in _LISTS if name in train.names)
    if field not in val.names:  # such as a cell of several classes, of one set alone
        raise DataError(
            f"expected {field} as in the training set, got {', '.join(sorted(val.names)) or 'no classes'}: give both "
            "sets the same kind of labels, in every row.",
            "val",
        )
    ours, theirs = train.names[field], val.names[field]
    if are_ids(ours) and not any(map(is_id, theirs)) or are_ids(theirs) and not any(map(is_id, ours)):
        raise DataError(  # they would be other classes, or ids of others
            f"expected classes as the training set's, {', '.join(ours[:5])}, got {', '.join(theirs[:5])}: of one set "
            "a list of classes names the ids, of the other it does not; name each id in it, as id,name in a CSV.",
            "val",
        )
    names = in_order({*train.names[field], *val.names[field]})
    train_split = {**train_split, "names": names}
    both = load_source(train_split, "train"), load_source(inherit(val_split, train_split), "val")
    for name in sorted({*names} - {*train.names[field]}):
        both[0].report.noted("class that only the validation set has, so it is not learned", name)
    return both


def load_source(
    split, where: str, names: dict[str, Sequence[str]] | None = None, partial: Collection[str] | None = None
) -> Source:
    """The Source that a split describes. It is given `names` if it takes class names and none are set.

    A list of them is mixed: one label set has the classes of all its sources. In a training set, a source that lacks
    some of them knows only those that it lists or, without a list, those that occur.

    Args:
        split: {"source": name, its arguments}, a Source, or a list of these.
        where: its key, for errors.
        names: of a validation set, the training set's class names by field.
        partial: of a validation set, the training set's `partial` fields. Of other fields all classes are known.
    """
    if isinstance(split, Source):
        return split
    if isinstance(split, (list, tuple)) and split:
        places = [f"{where}[{number}]" for number in range(len(split))]
        sources = [load_source(one, place) for one, place in zip(split, places, strict=True)]
        given = names or {}
        names = _joint_names(source for source in sources if not source.names.keys() & given.keys()) | given
        parts = zip(split, places, sources, strict=True)
        return Mixed([_with_names(one, place, names, partial, source) for one, place, source in parts])
    if names and partial and "names" not in split:
        return _with_names(split, where, names, partial, _load(split, where, {}))
    return _load(split, where, names or {})


def _load(split, where, names) -> Source:
    if not isinstance(split, dict) or "source" not in split:
        raise RecipeError(f"expected {{source: NAME, its arguments}}, a Source, or a list; got {split!r}.", where)
    arguments = {key: value for key, value in split.items() if key not in ("source", "set")}
    part, label_set = catalog.find("data/sources", split["source"], f"{where}.source"), split.get("set")
    if "set" in split and (not isinstance(label_set, str) or not label_set or "/" in label_set):
        raise RecipeError(f"expected a name without /, got {label_set!r}.", f"{where}.set")
    catalog.check_arguments(part, arguments, where)
    of_set = {field: names[name] for field, name in by_set(names).get(label_set or "", {}).items()}
    fields = of_set.keys() & set(getattr(part.load(), "fields", of_set))  # some know theirs only when they are read
    derived = fields & getattr(part.load(), "derived", frozenset())  # from the classes, after the background
    kinds = {tuple(of_set[field]) for field in fields - derived - {"keypoints"}} or {
        tuple(of_set[field][1:]) for field in derived
    }
    widest = max(kinds, key=len, default=())
    if fields == {"label", "tags"} and all(set(widest).issuperset(kind) for kind in kinds):
        kinds = {widest}  # of a mixture that has labels from one table and tags from another
    if len(kinds) == 1 and "names" not in arguments and any(a.name == "names" for a in part.arguments):
        arguments["names"] = list(*kinds)  # a split that lacks a class would number the others differently
    with under(where):
        source = part.load()(**arguments)
        _check_text(source)
    return Named(source, label_set) if label_set else source


def _check_text(source):
    """Raise where a class name is no Unicode, as the name of a folder may be: no font could draw it."""
    for field, names in source.names.items():
        for name in names:
            if any("\ud800" <= character <= "\udfff" for character in name):
                raise DataError(f"expected names of {field} in Unicode, got {name!r}; rename it.", "names")


def _joint_names(sources) -> dict[str, tuple[str, ...]]:
    joint, sources = {}, list(sources)
    real = set().union(*(source.fields - source.derived for source in sources))
    for source in sources:
        for field, names in source.names.items():
            if field in source.derived & real:
                continue
            joint[field] = tuple(dict.fromkeys((*joint.get(field, ()), *names)))
    return joint


def _with_names(split, where, names, partial, source) -> Source:
    """The source of a split, read again if it has other class names."""
    if all(tuple(names.get(field, own)) == own for field, own in source.names.items() if field != "keypoints"):
        return source
    if not isinstance(split, dict):
        return load_source(split, where, names, partial)
    again = _load(split, where, names)
    if "names" not in split and (partial is None or source.names.keys() & set(partial)):
        _know_only(again, source)
    return again


def _know_only(source, before):
    """Leave unknown what a source did not name before it was given the names of all."""
    while isinstance(source, Named):
        source, before = source.source, before.source
    for field in source.names.keys() & {"classes", "tags"}:
        known = np.isin(source.names[field], before.names[field])
        source.known = known if not known.all() else None


def _split(source: Source, share: float, seed: int) -> tuple[Source, Source]:
    if not 0 < share < 1:
        raise RecipeError(f"expected a share above 0 and below 1, got {share}.", "split")
    if isinstance(source, Mixed):
        train, val = zip(*(_split(one, share, seed) for one in source.sources), strict=True)
        return Mixed(train, source.report), Mixed(val, source.report)
    if len(source) < 2:
        raise DataError(f"expected at least 2 images to split into two sets, got {len(source)}.", "data")
    order = np.random.default_rng(seed % 2**32).permutation(len(source))
    count = min(max(1, round(len(source) * share)), len(source) - 1)
    # in the source's order, so that neighbors on disk are read one after the other
    return Subset(source, sorted(order[count:].tolist())), Subset(source, sorted(order[:count].tolist()))


def check_names(train: Source, val: Source, fields: Sequence[str]):
    """Raise a DataError unless training and validation set have the same classes, in one order."""
    for field in fields:
        ours, theirs = tuple(train.names.get(field, ())), tuple(val.names.get(field, ()))
        if ours and theirs and ours != theirs:
            raise DataError(
                f"its classes for {field!r} are not the training set's: {list(theirs)} instead of "
                f"{list(ours)}. Give both sets the same classes in the same order.",
                "val",
            )
