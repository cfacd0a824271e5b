"""Augments a Sample and places it on the network's canvas; the labels move with the image."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from visiontasks.data import albumentations_catalog
from visiontasks.data.augment.augmentation import Augmentation, Stage
from visiontasks.data.composed import Composed
from visiontasks.data.mirror import MIRRORS, partners
from visiontasks.errors import RecipeError
from visiontasks.registry.catalog import Part, check_arguments, parts
from visiontasks.sample import VOID, Sample

_NEAREST_ONLY = "masks hold class indices, which only nearest-neighbor interpolation keeps"


def check_augment(augment: Sequence, where: str = "augment"):
    """Check a recipe's list of transforms, albumentations' and this package's, without importing albumentations.

    Args:
        augment: names, or {name: {argument: value}}; a composition such as OneOf has its own list as `transforms`.
        where: the key that errors name.

    Raises:
        RecipeError: an unknown name or argument (the text offers a similar one), a missing argument, a value of
            another type, or a transform that cannot be used here.
    """
    for _ in _parse(augment, where):
        pass


@functools.cache
def augmentations() -> dict[str, Part]:
    """The transforms of `visiontasks/data/augment/` by class name; they take precedence over albumentations'."""
    return {part.symbol: part for part in parts("data/augment").values()}


def joined_images(augment: Sequence) -> int:
    """How many images' objects one may have after a recipe's list of transforms, as `check_augment` takes it."""
    return math.prod(_constant(name, "joins", 1) for name, _ in _parse(augment, "augment"))


def _parse(augment, where, size=None) -> Iterator[tuple[str, dict]]:
    """(name, arguments) of each entry, checked; the list in a composition is parsed too.

    A crop without `size` gets the canvas's.
    """
    if isinstance(augment, (str, dict)) or not isinstance(augment, Sequence):
        raise RecipeError(f"expected a list such as [{{HorizontalFlip: {{p: 0.5}}}}], got {augment!r}.", where)
    for number, entry in enumerate(augment):
        here = f"{where}[{number}]"
        if isinstance(entry, str):
            entry = {entry: None}
        if not isinstance(entry, dict) or len(entry) != 1:
            raise RecipeError(f"expected a name or {{name: {{argument: value}}}}, got {entry!r}.", here)
        ((name, given),) = entry.items()
        part = augmentations().get(str(name)) or albumentations_catalog.transform(str(name), here, augmentations())
        given = {} if given is None else given
        if not isinstance(given, dict):
            raise RecipeError(f"expected {{argument: value}} such as {{p: 0.5}}, got {given!r}.", f"{here}.{name}")
        if "mask_interpolation" in given:
            raise RecipeError(f"cannot be set: {_NEAREST_ONLY}. Leave it out.", f"{here}.{name}.mask_interpolation")
        given = dict(given)
        sized = "Crop" in name and any(a.name == "size" for a in part.arguments)
        check_arguments(part, given, f"{here}.{name}", filled=("size",) if sized else ())
        if sized and size is not None:
            given.setdefault("size", tuple(size))
        if "transforms" in given:
            inner = given["transforms"] = list(_parse(given["transforms"], f"{here}.{name}.transforms", size))
            if ours := next((n for n, _ in inner if n in augmentations()), None):
                raise RecipeError(f"{ours} cannot be used inside {name}; put it into the main list.", f"{here}.{name}")
        elif "fill_mask" not in given and any(a.name == "fill_mask" for a in part.arguments):
            given["fill_mask"] = VOID  # new pixels have no label
        yield str(name), given


def _make(name: str, given: dict) -> Augmentation:
    try:
        return augmentations()[name].load()(**given)
    except ValueError as error:
        raise RecipeError(f"{name}: {error}", "augment") from error


def _constant(name: str, constant: str, default):
    """A class constant of one of this package's transforms; the default for albumentations'."""
    return getattr(augmentations()[name].definition, constant, default) if name in augmentations() else default


def _at_original_resolution(name: str, given: dict) -> bool:
    inner = given.get("transforms", ())
    return "Crop" in name or _constant(name, "lays_out", False) or any(_at_original_resolution(*i) for i in inner)


def _all_names(parsed) -> Iterator[str]:
    for name, given in parsed:
        yield name
        yield from _all_names(given.get("transforms", ()))


class Augment:
    """Augments a Sample and places it on the canvas; image, masks, boxes and keypoints move together.

    The transforms are albumentations' and those in `visiontasks/data/augment/`, in the order of the list. Transforms
    up to the last one that crops (its name contains "Crop") or arranges images (`lays_out`) run at the image's
    original resolution. Then the image is placed on the canvas. The rest runs there, where it costs least.
    Objects that leave the image are dropped with all their fields. Keypoints that leave it get visibility 0. New pixels
    are void in a mask. The result depends on the samples and the generator's state alone, not on the thread.

    A transform of several images gets the others as the transforms before it in the list return them.

    Args:
        augment: the recipe's list, as `check_augment` takes it; a crop without `size` crops to the canvas's.
        size: (height, width) of the canvas.
        resize: how an image is placed, one of `visiontasks.geometry.RESIZES`; with object, ObjectCrop comes first.
        points: the keypoints' names, or {label set: names}; by them left and right ones swap in a mirrored image.

    Attributes:
        fields: Sample fields that the transforms use if the source has them.

    Raises:
        RecipeError: as `check_augment`; a transform refuses a value, or mirrors keypoints whose names do not show the
            pairs; or, when called, a transform failed on an image.
    """

    def __init__(
        self,
        augment: Sequence = (),
        size: tuple[int, int] = (256, 256),
        resize: str = "stretch",
        points: Sequence[str] | dict[str, Sequence[str]] = (),
    ):
        points = points if isinstance(points, dict) else {"": points}
        self.augment, self.size, self.resize, self.points = list(augment), tuple(size), resize, points
        parsed = list(_parse(self.augment, "augment", self.size))
        self._resize = resize
        if resize == "object":
            if "ObjectCrop" not in [name for name, _ in parsed[:1]]:
                parsed.insert(0, ("ObjectCrop", {"p": 0.0}))
            self._resize = "stretch"  # what lies on the canvas stays there
        if any(name == "ObjectCrop" for name, _ in parsed[1:]) or resize != "object" and "ObjectCrop" in dict(parsed):
            raise RecipeError("expected ObjectCrop once, as the first transform, with resize: object.", "augment")
        split = max((n for n, entry in enumerate(parsed, 1) if _at_original_resolution(*entry)), default=0)
        mirror = next((name for name in _all_names(parsed) if name in MIRRORS), None)
        pairs = {name: partners(those, mirror) for name, those in points.items() if mirror and len(those)}
        self._steps = []
        for section in parsed[:split], parsed[split:]:
            for ours, entries in itertools.groupby(section, lambda entry: entry[0] in augmentations()):
                entries = list(entries)
                self._steps += [_make(*entry) for entry in entries] if ours else [Composed(entries, pairs)]
            self._steps.append(_place)  # again at the end, because Transpose and others change the canvas
        self.fields = frozenset(field for name, _ in parsed for field in _constant(name, "fields", ()))

    def __reduce__(self):
        return type(self), (self.augment, self.size, self.resize, self.points)

    def __call__(
        self,
        sample: Sample,
        rng: np.random.Generator,
        another: Callable[[np.random.Generator], Sample] | None = None,
        epoch: int = 0,
    ) -> Sample:
        """A Sample whose image is uint8 (*size, 3).

        Args:
            sample: as it was read.
            rng: the source of all randomness.
            another: returns another Sample of the same source, as it was read; for transforms of several images.
            epoch: counted from 0; some transforms stop at one.
        """
        return self._run(len(self._steps), sample, rng, another, epoch)

    def _run(self, count, sample, rng, another, epoch):
        for number, step in enumerate(self._steps[:count]):
            if isinstance(step, Composed):
                sample = step(sample, rng)
                continue
            if isinstance(step, Augmentation) and not step.applies(rng, epoch):
                continue

            def prepared(number=number):
                if another is None:
                    raise ValueError("another: expected a function that returns further Samples, got None.")
                # a separate generator: how many numbers it draws changes nothing else
                seeded = np.random.default_rng(rng.integers(2**63))
                return self._run(number, another(seeded), seeded, another, epoch)

            sample = step(sample, rng, Stage(self.size, self._resize, prepared))
        return sample


def _place(sample, rng, stage):
    return stage.place(sample)
