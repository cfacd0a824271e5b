"""Places vectors on a plane, so that neighbors lie near each other."""

from typing import Literal

import numpy as np

from visiontasks.errors import UserError, near
from visiontasks.keras_backend import installed

METHODS = ("tsne", "umap", "pca")
COMPONENTS = 50  # that t-SNE sees, as its authors do (van der Maaten and Hinton 2008, section 4.2)
PERPLEXITY = 30.0
FEW = 8  # vectors: of fewer, neighborhoods say nothing, and their principal components are drawn
LARGE, ITERATIONS = 5000, (1000, 500)  # t-SNE's for up to so many vectors, and for more, which take minutes
_NEEDS = {"tsne": ("sklearn", "embed"), "umap": ("umap", "umap")}


def check_method(method: str):
    """Raise unless a method is known and installed.

    Raises:
        UserError: it is not; names the line for pip.
    """
    if method not in METHODS:
        raise UserError(f"unknown choice {method!r}. {near(method, METHODS)}", "map")
    module, extra = _NEEDS.get(method, ("numpy", ""))
    if not installed(module):
        raise UserError(f'{method} needs {module}: pip install "visiontasks[{extra}]". Or take pca.', "map")


def place_vectors(vectors: np.ndarray, method: Literal[METHODS] = "tsne", seed: int = 0) -> np.ndarray:
    """Positions float32 (N, 2) in 0..1 of vectors (N, D).

    Args:
        vectors: of length 1; of fewer than 8 the first two principal components are taken, whatever the method.
        method: tsne (van der Maaten and Hinton 2008) by scikit-learn, umap (McInnes et al. 2018) by umap-learn, pca.
        seed: of both.

    Raises:
        UserError: as `check_method`.
    """
    check_method(method)
    vectors = np.asarray(vectors, np.float32)
    if not np.ptp(vectors, axis=0).any():  # one vector, or all alike: no direction is longer than another
        return np.full((len(vectors), 2), 0.5, np.float32)
    if method == "pca" or len(vectors) < FEW:
        return _in_unit_square(_principal(vectors, 2))
    return _in_unit_square((_tsne if method == "tsne" else _umap)(vectors, seed))


def _principal(vectors, count) -> np.ndarray:
    """The coordinates along the `count` directions of largest variance; the sign is that of the largest entry."""
    centered = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centered, full_matrices=False) if len(vectors) <= 512 else _of_covariance(centered)
    directions = directions[:count]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    projected = centered @ (directions * np.sign(largest)).T
    return np.pad(projected, ((0, 0), (0, max(0, 2 - projected.shape[1]))))


def _of_covariance(centered):
    values, directions = np.linalg.eigh(centered.T.astype(np.float64) @ centered)
    return None, values[::-1], directions.T[::-1].astype(np.float32)


def _tsne(vectors, seed):
    from sklearn.manifold import TSNE

    reduced = _principal(vectors, COMPONENTS)
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    steps = ITERATIONS[len(vectors) > LARGE]
    return TSNE(perplexity=perplexity, init="pca", max_iter=steps, random_state=seed).fit_transform(reduced)


def _umap(vectors, seed):
    from umap import UMAP

    neighbors = min(15, len(vectors) - 1)
    return UMAP(n_neighbors=neighbors, metric="cosine", random_state=seed).fit_transform(vectors)


def _in_unit_square(positions) -> np.ndarray:
    """Scaled by one factor, so that distances keep their proportions; what is shorter lies in the middle."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    extent = max(float((high - low).max()), np.finfo(np.float32).tiny)
    return ((positions - (low + high) / 2) / extent + 0.5).astype(np.float32)
