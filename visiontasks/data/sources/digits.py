"""Handwritten digits that scikit-learn contains, so that a first network can train without a download."""

from typing import Literal

import cv2
import numpy as np

from visiontasks.data.sources.source import Source
from visiontasks.errors import DataError
from visiontasks.sample import Sample

SIZE = 28
SHARE = 0.8  # of the images are the training set


class Digits(Source):
    """1797 handwritten digits of 13 writers, scikit-learn's copy of the test set of UCI's digits; gives `label`.

    E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits (1998), https://doi.org/10.24432/C50P49. The 8×8
    images are made dark on white, as on paper, and enlarged to 28×28.

    Args:
        split: "train", the first 1438, or "val", the other 359. The order is the file's.

    Raises:
        DataError: scikit-learn is not installed.
    """

    fields = frozenset({"label"})

    def __init__(self, split: Literal["train", "val"] = "train"):
        super().__init__()
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise DataError("source digits: the images come with scikit-learn: pip install scikit-learn") from error
        digits = load_digits()
        cut = round(SHARE * len(digits.target))
        kept = slice(0, cut) if split == "train" else slice(cut, None)
        self.split, self.names = split, {"label": tuple("0123456789")}
        self._images = np.uint8(255 - np.round(digits.images[kept] * 255 / 16))
        self._labels = digits.target[kept]

    def __len__(self):
        return len(self._labels)

    def describe(self, index):
        return f"digits/{self.split}/{index}"

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"expected an index from 0 to {len(self) - 1}, got {index}.")
        image = cv2.resize(self._images[index], (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        return Sample(np.repeat(image[..., None], 3, axis=2), label=int(self._labels[index]), id=self.describe(index))
