"""Which images are embedded, and which labels they have."""

import os
from collections.abc import Sequence
from pathlib import Path

from visiontasks.data.derived import Mixed
from visiontasks.data.detect import detect
from visiontasks.data.load import load_source, load_sources
from visiontasks.data.sources.images import Images
from visiontasks.data.sources.source import Source
from visiontasks.errors import DataError

OBJECTS = {"boxes", "mask", "keypoints"}  # a source that has these gives a label only where there is one object


def labeled_images(files: str | os.PathLike, labels: bool = True) -> tuple[Source, list[str], str]:
    """The images of a folder, with one class each where its layout says so.

    Args:
        files: a file, a folder or a glob.
        labels: whether to look for classes; otherwise every image is taken, without.

    Returns:
        The source; "train", "val" or, without splits, "" for each image; a sentence on what was read.

    Raises:
        DataError: there is no image.
    """
    if labels and Path(files).is_dir():
        try:
            detected, sentence = detect(files, ("label",))
            sources = _both(detected) if detected["val"] is not None else (load_source(detected["train"], "train"),)
        except DataError:
            sources = ()
        if sources and all("label" in one.fields and not one.fields & OBJECTS for one in sources):
            splits = ("train", "val") if len(sources) > 1 else ("",)
            given = [split for split, one in zip(splits, sources, strict=True) for _ in range(len(one))]
            return (Mixed(sources) if len(sources) > 1 else sources[0]), given, sentence
    images = Images(str(files))
    return images, [""] * len(images), f"{files}: {len(images)} images without labels."


def _both(detected) -> Sequence[Source]:
    return load_sources(detected, ("label",), 0.5, 0)  # both are there: nothing is split
