"""Data sets of the TensorFlow Datasets catalog, by random access and without TensorFlow."""

import re
from collections.abc import Sequence

import numpy as np

from visiontasks.arguments import Pixels
from visiontasks.data.images import MAX_PIXELS, decode_image
from visiontasks.data.mask_images import decode_mask
from visiontasks.data.objects import Objects, usable_boxes, zero_based
from visiontasks.data.sources.source import Source
from visiontasks.errors import DataError, near
from visiontasks.keras_backend import installed
from visiontasks.sample import VOID, Sample

_IGNORED_MARKS = ("is_crowd", "is_difficult", "difficult")


class Tfds(Source):
    """A TensorFlow Datasets set with `image` and `label`, `segmentation_mask` or `objects`.

    Gives `label`; `mask` from `segmentation_mask`; and from objects (`bbox`, `label`, and is_crowd or is_difficult)
    `boxes`, `classes`, `tags` and, if the set has no label of its own, the largest object's class as `label`.

    Preparing a set for the first time downloads it and imports TensorFlow; reading does not.

    Args:
        dataset: its name, such as oxford_iiit_pet or oxford_iiit_pet:4.0.0.
        split: a split or a slice of one, such as train or train[:80%].
        data_dir: the folder of prepared sets; by default TFDS's own.
        mask_names: the classes of the mask by index, 0 first; needed if the set has masks without class names.
        mask_offset: added to the mask's values, so that classes start from 0; values below 0 become void.
        download: prepare the set if it is not prepared yet.
        one_based: the boxes' first corners count pixels from 1, as in PASCAL VOC's XML, which TFDS passes on
            unchanged; they are moved by one pixel, as the source `voc` does. By default true for the sets named voc.
        max_pixels: larger images are skipped.

    Raises:
        DataError: the set or split does not exist, lacks these features, or is not prepared for random access; the
            package tensorflow-datasets is not installed, or TensorFlow where the set is not prepared.
    """

    def __init__(
        self,
        dataset: str,
        split: str = "train",
        data_dir: str | None = None,
        mask_names: Sequence[str] | None = None,
        mask_offset: int = 0,
        download: bool = True,
        one_based: bool | None = None,
        max_pixels: Pixels = MAX_PIXELS,
    ):
        super().__init__()
        try:
            import tensorflow_datasets as tfds
        except ImportError as error:
            raise DataError(
                "source tfds: tensorflow-datasets is not installed: pip install tensorflow-datasets"
            ) from error
        self.dataset, self.split, self.mask_offset, self.max_pixels = dataset, split, mask_offset, max_pixels
        self.one_based = _from_one(dataset) if one_based is None else one_based
        try:
            builder = tfds.builder(dataset, data_dir=data_dir)
        except tfds.core.DatasetNotFoundError:
            choices = tfds.list_builders(with_community_datasets=False)
            raise DataError(f"TensorFlow Datasets has no {dataset!r}. {near(dataset, choices)}", "dataset") from None
        if download and not builder.is_prepared() and not installed("tensorflow"):
            raise DataError(
                f"expected a prepared set, got none of {dataset!r}; to prepare one, TensorFlow is needed: "
                'pip install "visiontasks[tensorflow]".',
                "data_dir",
            )
        features = dict(builder.info.features or {})
        self.names = _names_of(features, dataset, mask_names)
        self._own_label = bool(getattr(features.get("label"), "names", None))
        self.fields = frozenset(self.names) | ({"boxes"} if "classes" in self.names else set())
        encoded = [key for key in ("image", "segmentation_mask") if key in features]
        try:
            self._records = tfds.data_source(
                dataset,
                split=split,
                data_dir=data_dir,
                download=download,
                # raw bytes: this package's reader accepts more formats than the feature's decoder
                decoders={key: tfds.decode.SkipDecoding() for key in encoded},
            )
        except (ValueError, NotImplementedError, AssertionError) as error:
            raise DataError(f"dataset {dataset!r}, split {split!r}: {error}") from error
        except (OSError, tfds.download.DownloadError) as error:
            raise DataError(
                f"dataset {dataset!r} could not be prepared: {error}. It is downloaded once; without a network, "
                "prepare it elsewhere and give its folder.",
                "data_dir",
            ) from error

    def __len__(self):
        return len(self._records)

    def __getitem__(self, index):
        record, name = self._records[index], self.describe(index)
        image = decode_image(record["image"], name, self.report, self.max_pixels, self.bits)
        labels = {}
        if "classes" in self.fields:
            labels = self._objects(record["objects"], image.shape[:2], name).fields(
                len(self.names["classes"]), image.shape[:2]
            )
        if self._own_label:
            labels["label"] = int(record["label"])
        if "mask" in self.fields:
            labels["mask"] = self._classes_of(decode_mask(record["segmentation_mask"], name), name)
        return Sample(image, **labels, id=name)

    def _objects(self, objects, size, name) -> Objects:
        top, left, bottom, right = np.asarray(objects["bbox"], np.float64).reshape(-1, 4).T  # shares of the image
        boxes = np.stack([left, top, right, bottom], axis=1) * [size[1], size[0], size[1], size[0]]
        boxes = zero_based(boxes) if self.one_based else boxes
        names = [f"{name}, object {number}" for number in range(1, 1 + len(boxes))]
        boxes, kept = usable_boxes(boxes, size, names, self.report)
        ignored = np.zeros(len(names), bool)
        for mark in _IGNORED_MARKS:
            ignored |= np.asarray(objects.get(mark, ignored), bool)
        areas = np.asarray(objects["area"], np.float32)[kept] if "area" in objects else None
        return Objects(boxes, np.asarray(objects["label"], np.int32)[kept], ignored[kept], areas)

    def _classes_of(self, values, name):
        mask = np.where(values == VOID, VOID, values + self.mask_offset)
        mask[mask < 0] = VOID
        count = len(self.names["mask"])
        if (mask[mask != VOID] >= count).any():
            raise DataError(
                f"mask of {name}: expected class indices below {count} after adding mask_offset={self.mask_offset}, "
                f"got {mask[mask != VOID].max()}; give mask_names for every class, or another mask_offset."
            )
        return mask

    def describe(self, index):
        return f"{self.dataset}/{self.split}/{index}"


def _from_one(dataset: str) -> bool:
    """Whether a set's boxes count pixels from 1: PASCAL VOC's do."""
    return re.split("[/:]", dataset)[0] == "voc"


def _names_of(features, dataset, mask_names) -> dict[str, tuple[str, ...]]:
    objects = getattr(features.get("objects"), "feature", None)  # a sequence's
    objects = dict(objects.items()) if hasattr(objects, "items") else {}
    names = {}
    if "bbox" in objects and getattr(objects.get("label"), "names", None):
        names = dict.fromkeys(("classes", "tags", "label"), tuple(objects["label"].names))
    if getattr(features.get("label"), "names", None):
        names["label"] = tuple(features["label"].names)
    mask = features.get("segmentation_mask")
    if mask is not None:
        mask_names = mask_names or getattr(mask, "names", None)
        if mask_names:
            names["mask"] = tuple(map(str, mask_names))
        elif not names:
            raise DataError(f"{dataset} has no class names for its masks; list them, 0 first.", "mask_names")
    if "image" not in features or not names:
        raise DataError(
            f"expected features image and label, segmentation_mask or objects, got those of {dataset}: "
            f"{', '.join(features)}.",
            "dataset",
        )
    return names
