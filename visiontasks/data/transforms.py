"""From a Sample as it was read to a Sample on the network's canvas: augmentation, and the labels that move along."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from visiontasks.data import albumentations_catalog
from visiontasks.data.augment.augmentation import Augmentation, Stage
from visiontasks.data.composed import Composed
from visiontasks.data.mirror import MIRRORS, partners
from visiontasks.errors import RecipeError
from visiontasks.recipe.catalog import Part, check_arguments, parts
from visiontasks.sample import VOID, Sample

_NEAREST_ONLY = "a label map holds class numbers, which only the nearest pixel keeps"


def check_augment(augment: Sequence, where: str = "data.augment"):
    """Check a recipe's list of transforms, albumentations' and our own, without importing albumentations.

    Args:
        augment: names, or {name: {argument: value}}; a composition such as OneOf has its own list as `transforms`.
        where: the key that errors name.

    Raises:
        RecipeError: a name or an argument that there is not (with the near one), a missing argument,
            a value of another type, or a transform that this pipeline has no place for.
    """
    for _ in _parse(augment, where):
        pass


@functools.cache
def augmentations() -> dict[str, Part]:
    """The transforms of `visiontasks/data/augment/` by the name of their class; they go before albumentations'."""
    return {part.symbol: part for part in parts("data/augment").values()}


def _parse(augment, where, size=None) -> Iterator[tuple[str, dict]]:
    """(name, arguments) of each entry, checked; the list inside a composition is parsed too.

    A crop that is told no `size` of its own is given the canvas's.
    """
    if isinstance(augment, (str, dict)) or not isinstance(augment, Sequence):
        raise RecipeError(f"{where}: expected a list such as [{{HorizontalFlip: {{p: 0.5}}}}], got {augment!r}.")
    for number, entry in enumerate(augment):
        here = f"{where}[{number}]"
        if isinstance(entry, str):
            entry = {entry: None}
        if not isinstance(entry, dict) or len(entry) != 1:
            raise RecipeError(f"{here}: expected a name or {{name: {{argument: value}}}}, got {entry!r}.")
        ((name, given),) = entry.items()
        part = augmentations().get(str(name)) or albumentations_catalog.transform(str(name), here, augmentations())
        given = {} if given is None else given
        if not isinstance(given, dict):
            raise RecipeError(f"{here}.{name}: expected {{argument: value}} such as {{p: 0.5}}, got {given!r}.")
        if "mask_interpolation" in given:
            raise RecipeError(f"{here}.{name}.mask_interpolation: cannot be set: {_NEAREST_ONLY}. Leave it out.")
        given = dict(given)
        sized = "Crop" in name and any(a.name == "size" for a in part.arguments)
        check_arguments(part, given, f"{here}.{name}", filled=("size",) if sized else ())
        if sized and size is not None:
            given.setdefault("size", tuple(size))
        if "transforms" in given:
            inner = given["transforms"] = list(_parse(given["transforms"], f"{here}.{name}.transforms", size))
            if own := next((n for n, _ in inner if n in augmentations()), None):
                raise RecipeError(f"{here}.{name}: {own} cannot stand inside of {name}; put it into the list itself.")
        elif "fill_mask" not in given and any(a.name == "fill_mask" for a in part.arguments):
            given["fill_mask"] = VOID  # what a transform lays bare was never labelled
        yield str(name), given


def _own(name: str, given: dict) -> Augmentation:
    try:
        return augmentations()[name].load()(**given)
    except ValueError as error:
        raise RecipeError(f"data.augment: {name}: {error}") from error


def _says(name: str, constant: str, default):
    """What the class of a transform of our own says of itself."""
    return getattr(augmentations()[name].definition, constant, default) if name in augmentations() else default


def _at_own_resolution(name: str, given: dict) -> bool:
    inner = given.get("transforms", ())
    return "Crop" in name or _says(name, "lays_out", False) or any(_at_own_resolution(*entry) for entry in inner)


def _all_names(parsed) -> Iterator[str]:
    for name, given in parsed:
        yield name
        yield from _all_names(given.get("transforms", ()))


class Augment:
    """Augments a Sample and places it on the canvas; picture, masks, boxes and keypoints move together.

    The transforms are albumentations' and those in `visiontasks/data/augment/`, in the order of the list. Everything up
    to and including the last one that crops (its name contains "Crop") or lays out pictures anew (`lays_out`) runs at
    the picture's own resolution; then the picture is placed on the canvas; the rest runs there, where it costs least.
    Objects that a transform moves out of sight are dropped with all their fields; keypoints out of sight get visibility
    0; what a transform lays bare is void in a mask. The result depends on the samples and the generator's state alone,
    whatever the thread.

    A transform that takes further pictures has them as they come out of the transforms before it in the list.

    Args:
        augment: the recipe's list, as `check_augment` takes it; a crop without `size` cuts to the canvas's.
        size: (height, width) of the canvas.
        resize: how a picture is placed, a mode of `visiontasks.geometry.Placement`.
        points: the keypoints' names, by which left and right ones change places where a picture is mirrored.

    Attributes:
        fields: Sample fields that the transforms use where a source has them.

    Raises:
        RecipeError: as `check_augment`, a value that a transform refuses, or a transform that mirrors keypoints whose
            names do not say which are pairs; when called, a transform failed on a picture.
    """

    def __init__(
        self,
        augment: Sequence = (),
        size: tuple[int, int] = (256, 256),
        resize: str = "stretch",
        points: Sequence[str] = (),
    ):
        self.augment, self.size, self.resize, self.points = list(augment), tuple(size), resize, tuple(points)
        parsed = list(_parse(self.augment, "data.augment", self.size))
        split = max((n for n, entry in enumerate(parsed, 1) if _at_own_resolution(*entry)), default=0)
        mirror = next((name for name in _all_names(parsed) if name in MIRRORS), None)
        pairs = partners(points, mirror) if mirror and points else None
        self._steps = []
        for part in parsed[:split], parsed[split:]:
            for is_own, entries in itertools.groupby(part, lambda entry: entry[0] in augmentations()):
                entries = list(entries)
                self._steps += [_own(*entry) for entry in entries] if is_own else [Composed(entries, pairs)]
            self._steps.append(_place)  # the second time because one such as Transpose changes the canvas itself
        self.fields = frozenset(field for name, _ in parsed for field in _says(name, "fields", ()))

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
            rng: of all chance.
            another: gives a Sample of the same source as it was read; for transforms of several pictures.
            epoch: counted from 0; some transforms end with one.
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
                    raise ValueError("another: expected a function that gives further Samples, got None.")
                # a generator of its own: how much chance it uses up changes nothing else
                seeded = np.random.default_rng(rng.integers(2**63))
                return self._run(number, another(seeded), seeded, another, epoch)

            sample = step(sample, rng, Stage(self.size, self.resize, prepared))
        return sample


def _place(sample, rng, stage):
    return stage.place(sample)
