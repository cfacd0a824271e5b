"""`Source`: the base class of data sources, sequences of Samples with class names and a report of what was skipped."""

import abc
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from visiontasks.arguments import Checked
from visiontasks.data.images import MAX_PIXELS, read_image
from visiontasks.data.objects import Objects
from visiontasks.data.report import Report
from visiontasks.data.scan import scan
from visiontasks.errors import BadImage, DataError, UserError
from visiontasks.sample import Sample, named


class Overruled(str):
    """Why a folder is not read as a source whose layout it has: the sentence on what was read says it."""


class Source(Checked, abc.ABC):
    """A sequence of Samples. Its constructor's arguments are its recipe keys, checked by their annotations.

    Attributes:
        fields: the Sample fields that its samples have, such as frozenset({"label"}).
        names: class names by field, such as {"label": ("cat", "dog")}.
        derived: those of the fields that are computed from others. A folder's source that has them as labels is
            preferred.
        report: what was skipped or corrected; filled by the constructor and by reading.
        known: bool (C,), the classes or tags that the data were annotated for; None: all.
        bits: of images of 16 bits, how many hold values, see `read_image`; given by `bit_depth.settle_bits`.
        normal_alone: whether it has images of the first class alone by intent, as a training set for anomalies does.
        LAYOUT: the folder layout that `recognize` accepts; None for a source without one.
    """

    LAYOUT: str | None = None
    fields: frozenset[str]
    derived: frozenset[str] = frozenset()
    names: dict[str, tuple[str, ...]]
    known: np.ndarray | None = None
    bits: int | None = None
    normal_alone = False

    def __new__(cls, *args, **kwargs):
        made = super().__new__(cls)
        made.report = Report()  # here, so that a subclass's constructor need not call its base's
        return made

    def __init__(self):
        """Takes nothing; a subclass's arguments are its own."""

    @property
    def partial(self) -> set[str]:
        """The fields of which some classes or tags are not `known` in some samples."""
        return set() if self.known is None else self.names.keys() & {"classes", "tags"}

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The sample; every call reads it again and returns the same.

        Raises:
            BadImage: the file cannot be read; the pipeline skips it.
        """

    def read(self, index: int, fields: Iterable[str]) -> Sample:
        """The sample for a batch of some fields; a source may leave out costly other fields, such as masks."""
        return self[index]

    def posed(self, index: int, label_set: str = "") -> np.ndarray:
        """The numbers of a sample's objects that have a labeled keypoint and are not ignored; none of a bad image."""
        try:
            sample = self.read(index, named(label_set, ("boxes", "classes", "keypoints"))).of(label_set)
        except BadImage:
            return np.zeros(0, int)
        return labeled_objects(sample.keypoints, sample.ignored)

    def object_count(self, index: int, label_set: str = "") -> int | None:
        """The number of a sample's objects; None if it is not known before the sample is read."""
        return None

    def alike(self, index: int) -> Sequence[int]:
        """The numbers of the samples from the same data set, this one's among them.

        Transforms of several images, such as Mosaic, combine only these.
        """
        return range(len(self))

    def results(self, sample: Sample, detections: dict) -> list[dict] | None:
        """A sample's detections in the format of the data set's own tools; None if they have no such format.

        Args:
            sample: a sample of this source.
            detections: `boxes` (N, 4), `scores` (N,), `classes` (N,) and maybe `masks`, an InstanceMasks, and
                `keypoints` (N, K, 3), in the sample's pixels.
        """
        return None

    @abc.abstractmethod
    def describe(self, index: int) -> str:
        """The file or name of a sample, without reading it."""

    @classmethod
    def recognize(cls, root: Path) -> dict[str, dict] | str | None:
        """The constructor arguments for the folder `root`, if its layout is this source's.

        Returns {"train": {constructor arguments}, "val": {constructor arguments}}, without "val" if the training set is
        to be split. Of a folder that looks like the layout and yet is not it, the reason, without a period. Else None.
        """
        return None

    @classmethod
    def recognize_for(cls, root: Path, wanted: Collection[str]) -> dict[str, dict] | str | None:
        """As `recognize`; of several annotation files those with the `wanted` fields."""
        return cls.recognize(root)

    @classmethod
    def recognize_file(cls, path: Path, wanted: Collection[str]) -> dict[str, dict] | str | None:
        """As `recognize_for`, for a file that describes a data set, such as a data.yaml."""
        return None

    @classmethod
    def recognize_known(cls, root: Path) -> dict[str, dict] | None:
        """As `recognize`, where it accepts more because a model knows the classes; None where it does not."""
        return None


def labeled_objects(keypoints: np.ndarray | None, ignored: np.ndarray | None) -> np.ndarray:
    """The numbers of the objects that have a labeled keypoint and are not ignored."""
    if keypoints is None:
        return np.zeros(0, int)
    labeled = (keypoints[..., 2] > 0).any(axis=1)
    return np.flatnonzero(labeled if ignored is None else labeled & ~ignored)


class Files(Source):
    """A source of image files. A subclass gives `labels`, and its constructor sets the attributes below.

    Attributes:
        items: (path, labels as `labels` takes them) of each sample.
        root: the folder to which samples' ids are relative.
        max_pixels: larger images are skipped.
    """

    items: list[tuple]
    root: Path
    max_pixels: int = MAX_PIXELS

    @abc.abstractmethod
    def labels(self, item, size: tuple[int, int], fields: Iterable[str]) -> dict:
        """The Sample fields of an item's labels; (height, width) are the image's."""

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.read(index, self.fields)

    def read(self, index, fields):
        path, *item = self.items[index]
        image = read_image(path, self.report, self.max_pixels, self.bits)
        try:
            labels = self.labels(*item, image.shape[:2], fields)
            return Sample(image, **labels, id=self.id_of(path), path=str(path))
        except UserError:
            raise
        except ValueError as error:  # the constructor has checked the labels against the image as it was
            raise BadImage(path, f"image that has changed since it was checked: {error}") from error

    def id_of(self, path: Path) -> str:
        """The id of a file's sample."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def describe(self, index):
        return str(self.items[index][0])

    def readable(self, look: Callable, items: Sequence, what: str = "Checking images") -> Iterator[tuple]:
        """(item, look(item)) of every item, in order; one for which `look` raises BadImage is reported and left out."""

        def caught(item):
            try:
                return look(item)
            except BadImage as error:
                return error

        for item, result in zip(items, scan(caught, items, what), strict=True):
            if isinstance(result, BadImage):
                self.report.skipped(f"{result.reason}, skipped", result.path)
            else:
                yield item, result


class ObjectFiles(Files):
    """A source of image files with `Objects`; its constructor calls `name_classes`, and `check_objects` at its end."""

    fields = frozenset({"boxes", "classes", "tags", "label"})
    derived = frozenset({"mask"})

    def name_classes(self, names: Iterable[str], listed: Iterable[str] | None = None):
        """Set the class names; those that are not `listed` are not `known`. None: all are."""
        names = tuple(map(str, names))
        self.names = dict.fromkeys(("classes", "tags", "label"), names)
        if "mask" in self.fields:
            self.names["mask"] = ("background", *names)
        for name in () if listed is None else sorted(set(names) - set(listed)):
            self.known = np.isin(names, list(listed))
            self.report.noted("class that the annotations do not list, so it is not known", name)

    def without_masks(self):
        """The annotations turned out to have none."""
        self.fields -= {"instance_masks", "mask"}
        self.names.pop("mask", None)

    def only_classes(self):
        """The annotations are classes of whole images, whose boxes are the images."""
        single = all(len(objects.boxes) <= 1 for _, objects in self.items)
        self.fields = frozenset({"tags", "label"} if single else {"tags"})
        self.names = {field: self.names[field] for field in self.fields}

    def number_of(self, name: str, where) -> int:
        """The number of a class.

        Raises:
            DataError: it has none.
        """
        names = self.names["classes"]
        if name not in names:
            raise DataError(
                f"{where}: expected a class among names ({', '.join(names[:60])}), got {name!r}; correct it, or "
                "add it.",
                "names",
                fix=f"[{','.join((*names[:60], name))}]",
            )
        return names.index(name)

    def labels(self, objects, size, fields):
        return objects.fields(len(self.names["tags"]), size, self.fields & set(fields), self.known)

    def object_count(self, index, label_set=""):
        return 0 if label_set else len(self.items[index][1].boxes)

    def posed(self, index, label_set=""):
        (objects,) = self.items[index][1:]  # no image need be read
        return np.zeros(0, int) if label_set else labeled_objects(objects.keypoints, objects.ignored)

    def usable(self, count: int, objects: Objects, path: Path) -> bool:
        """Whether an image with so many annotated objects is used. Of which all were skipped, it is reported and not.

        What is left of it would be taught as background.
        """
        if count and not len(objects.boxes):
            self.report.skipped("image whose objects were all skipped, left out", str(path))
            return False
        return True

    def check_size(self, where, path: Path, listed: Sequence, size: tuple[int, int]):
        """Raise unless an image has the (height, width) that its annotations list; what is not listed is reported.

        Raises:
            DataError: it has another size.
        """
        if not all(listed):
            self.report.noted("annotations without the image's height and width, taken from the image", str(path))
        elif tuple(listed) != size:
            turned = ", which ignores the EXIF orientation" * (tuple(listed) == size[::-1])
            raise DataError(
                f"{where}: expected for {path} its height and width {size}, got {tuple(listed)}{turned}; the boxes "
                "belong to another image: annotate this one, or restore the image that was annotated."
            )

    def check_objects(self, where, expected: str = "objects", ignored: str = "ignored regions", fix: str = ""):
        """Raise unless there is an object to learn.

        Args:
            where: the file or folder of the annotations.
            expected: what has the objects.
            ignored: what ignored regions are called.
            fix: what to do about them.

        Raises:
            DataError: there is none.
        """
        regions = [objects.ignored for _, objects in self.items]
        if not all(map(np.all, regions)):
            return
        count = sum(map(len, regions))
        came, fix = (f"{count} {ignored} and no other object", f"; {fix}") if count else ("none", "")
        report = f"\n{self.report}" if self.report else ""
        raise DataError(
            f"{where}: nothing to train on: expected {expected}, got {came} in {len(self.items)} images{fix}.{report}"
        )


def check_once(path: Path, file: Path, files: dict[Path, Path]):
    """Note in `files` that a file has an image's annotations.

    Raises:
        DataError: another file has some: in each image the objects of the other would be background.
    """
    if files.setdefault(path, file) != file:
        raise DataError(
            f"{file}: expected one file of annotations for {path}, but {files[path]} is another; join them."
        )
