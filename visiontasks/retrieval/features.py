"""Pooled features of images: one vector of length 1 for each, from any tap of a backbone or of a trained model."""

import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from visiontasks.data.bit_depth import settle_bits
from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.source import Source
from visiontasks.errors import UserError, near
from visiontasks.preprocess import Preprocess
from visiontasks.retrieval.reading import labeled_images
from visiontasks.sample import UNLABELED

FILE = "features.npz"


@dataclasses.dataclass(frozen=True)
class Features:
    """Vectors of images, with their paths and labels; NumPy arrays alone, so that a file of them runs no code.

    Attributes:
        vectors: float32 (N, D), each of length 1; of zeros where the network's features are all 0.
        paths: N file names.
        labels: int32 (N,), -1 = not labeled.
        splits: "train", "val" or "" for each image.
        names: of the classes.
    """

    vectors: np.ndarray
    paths: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    names: tuple[str, ...] = ()

    def __len__(self):
        return len(self.vectors)

    @property
    def labeled(self) -> bool:
        """Whether two classes or more occur."""
        return len(np.unique(self.labels[self.labels > UNLABELED])) > 1

    def save(self, path: str | os.PathLike, stamp: str = ""):
        """Write an `.npz` file; `stamp` says later what the vectors were computed from."""
        arrays = {field.name: np.asarray(getattr(self, field.name)) for field in dataclasses.fields(self)}
        arrays["names"] = np.array(self.names, str)
        np.savez(path, **arrays, stamp=np.array(stamp))

    @classmethod
    def load(cls, path: str | os.PathLike, stamp: str | None = None) -> "Features | None":
        """Read a file of `save`; None if it has another stamp.

        Raises:
            UserError: it is no such file, or a damaged one.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                if stamp is not None and str(file["stamp"]) != stamp:
                    return None
                arrays = {field.name: file[field.name] for field in dataclasses.fields(cls)}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is not a features file, or is damaged: {error}", "path") from error
        return cls(**{**arrays, "names": tuple(arrays["names"].tolist())})


class Extractor:
    """Computes features: a tap of a network, averaged over its positions and divided by its length.

    Of a VisionModel with a head `embedder` they are that head's embeddings, unless a tap is named.

    Args:
        network: a backbone, or a VisionModel, of which the levels up to its heads' are offered.
        tap: the output that is pooled, such as C4; by default as said, or `top` if there is
            one, otherwise the deepest level.
        preprocess: how images are fitted to the network's input; by default as the VisionModel was trained, and of a
            backbone as its input's size says, cropped.

    Raises:
        UserError: there is no such tap, or a backbone takes images of any size and no `preprocess` is given.
    """

    def __init__(self, network, tap: str | None = None, preprocess: Preprocess | None = None):
        import keras

        from visiontasks.model_folding import Folding

        self.preprocess = preprocess or _preprocess(network)
        heads = getattr(network, "heads", {})
        self._head = next((name for name, head in heads.items() if tap is None and head.task == "retrieval"), None)
        if self._head is not None:
            self._network, self.tap = Folding(network), self._head
            return
        backbone = getattr(network, "backbone", network)
        self.tap = _tap(backbone.output, tap)
        pooled = backbone.output[self.tap]
        if len(pooled.shape) == 4:  # in float32: the sum of many cells overflows float16
            pooled = keras.layers.GlobalAveragePooling2D(dtype="float32", name="embedded")(pooled)
        self._network = Folding(keras.Model(backbone.input, pooled))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images on the canvas, uint8 (B, H, W, 3), to vectors of length 1, float32 (B, D)."""
        network = self._network()
        outputs = network.predict_on_batch(images)
        outputs = outputs if self._head is None else network.by_head(outputs)[self._head]["embedding"]
        return normalized(np.asarray(outputs))

    def of_image(self, image: np.ndarray) -> np.ndarray:
        """The vector (D,) of an image of any size, uint8 (H, W, 3)."""
        return self(self.preprocess.placement(image.shape[:2]).place_image(image)[None])[0]

    def stream(self, source: Source, batch: int = 32) -> Iterator[tuple[np.ndarray, list]]:
        """(vectors, the Samples that they belong to) of all readable images of a source, batch by batch.

        Raises:
            DataError: no image can be read.
        """
        fields = ("label",) if "label" in source.fields else ()
        settle_bits([source], self.preprocess.bits)
        size, resize = self.preprocess.size, self.preprocess.resize
        loader = Loader(source, fields=fields, size=size, resize=resize, batch=batch)
        try:
            for arrays, samples in loader.with_samples():
                yield self(arrays["image"])[: len(samples)], samples
        finally:
            loader.close()


def image_features(
    network,
    source: str | os.PathLike | Source,
    tap: str | None = None,
    preprocess: Preprocess | None = None,
    batch: int = 32,
) -> Features:
    """The Features of a folder's images, with their classes where the folder has some.

    Args:
        network, tap, preprocess: as for `Extractor`.
        source: a file, a folder, a glob, or a Source.
        batch: images per batch.

    Raises:
        DataError: there is no image, or none can be read.
        UserError: as `Extractor`; or features are not finite.
    """
    extractor = network if isinstance(network, Extractor) else Extractor(network, tap, preprocess)
    source, splits = (source, None) if isinstance(source, Source) else labeled_images(source)[:2]
    return collect(extractor.stream(source, batch), source, splits)


def collect(stream: Iterator, source: Source, splits: Sequence[str] | None = None) -> Features:
    """The Features of `Extractor.stream`; `splits` are those of all the source's images, readable or not."""
    split_of = dict(zip(map(source.describe, range(len(source))), splits or [""] * len(source), strict=True))
    vectors, paths, labels = [], [], []
    for rows, samples in stream:
        vectors.append(rows)
        paths += [sample.path or sample.id for sample in samples]
        labels += [UNLABELED if sample.label is None else sample.label for sample in samples]
    vectors = np.concatenate(vectors)
    if broken := int((~np.isfinite(vectors)).any(axis=1).sum()):
        raise UserError(f"the network's features of {broken} images are not finite; use other weights or precision.")
    given = np.array([split_of.get(path, "") for path in paths], str)
    return Features(vectors, np.array(paths, str), np.array(labels, np.int32), given, source.names.get("label", ()))


def stamp_of(source: Source, splits: Sequence[str], network: dict) -> str:
    """A hash of what features depend on: the files' names, sizes and times, their labels, and the network.

    Args:
        source: of image files.
        splits: as for `collect`.
        network: JSON-ready values that tell one network from another.
    """
    files = []
    for path in map(source.describe, range(len(source))):
        state = os.stat(path) if Path(path).is_file() else None
        files.append([path, state and state.st_size, state and state.st_mtime_ns])
    described = {"files": files, "splits": list(splits), "names": source.names.get("label", ()), "network": network}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D) of length 1, float32; those of zeros stay so."""
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _tap(offered, tap: str | None) -> str:
    if tap is None:
        levels = sorted(name for name in offered if name[0] == "C" and name[1:].isdigit())
        return "top" if "top" in offered else (levels or sorted(offered))[-1]
    if tap not in offered:
        raise UserError(f"this network has no output {tap!r}. {near(tap, offered)}", "tap")
    return tap


def _preprocess(network) -> Preprocess:
    if hasattr(network, "backbone"):
        given = Preprocess.of(network)
        # the whole image is embedded, not one object of it
        return dataclasses.replace(given, resize="letterbox") if given.resize == "object" else given
    size = tuple(network.input.shape[1:3])
    if None in size:
        raise UserError("expected Preprocess(size), because this backbone takes images of any size.", "preprocess")
    return Preprocess(size, "crop")
