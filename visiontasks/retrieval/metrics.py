"""Scores of vectors with known classes: how well neighbors tell the class, and how well a class is retrieved."""

from collections.abc import Sequence

import numpy as np

from visiontasks.errors import UserError
from visiontasks.retrieval.index import NeighborIndex

RECALL_AT = (1, 2, 4, 8)
FOLDS = 5  # of the cross-validation of a logistic regression without a validation set
LARGE = 5000  # images: of more, one fifth is held out once, because a fit takes half a minute


def vote(labels: np.ndarray) -> np.ndarray:
    """The class of each query by its neighbors: the most frequent, of equally frequent ones that of the nearest.

    Args:
        labels: int (Q, k), of the neighbors, nearest first.
    """
    same = labels[:, :, None] == labels[:, None, :]
    return labels[np.arange(len(labels)), same.sum(axis=2).argmax(axis=1)]


class RetrievalTotals:
    """Sums of recall@k and mAP@R over queries, each of which is an image among the others.

    - `recall@k`: the share of queries that have an image of their class among the k nearest.
    - `map@r`: with R other images of the query's class, the mean over the R nearest of the precision up to each one of
      them that has the class, 0 for one that does not (Musgrave, Belongie and Lim 2020, A Metric Learning Reality
      Check, section 3.2).

    An image whose class has no other image is no query, but is among those searched.

    Args:
        labels: int (N,), all from 0 up, of the images that are searched.
        at: the numbers k.

    Attributes:
        deepest: neighbors of each image that the scores look at.
    """

    def __init__(self, labels: np.ndarray, at: Sequence[int] = RECALL_AT):
        self._labels, self._at = np.asarray(labels), list(at)
        self._others = np.bincount(self._labels)[self._labels] - 1
        self.deepest = int(max(self._others.max(), *at))
        self._hits, self._precision, self._queries = np.zeros(len(self._at)), 0.0, 0

    def add(self, rows: np.ndarray, neighbors: np.ndarray):
        """Count queries: their numbers int (Q,), and those of their `deepest` nearest others int (Q, K), or of all."""
        asked = self._others[rows] > 0
        rows, neighbors = rows[asked], neighbors[asked]
        count = self._others[rows, None]
        same = self._labels[neighbors] == self._labels[rows, None]
        self._hits += [same[:, :k].any(axis=1).sum() for k in self._at]
        rank = np.arange(1, same.shape[1] + 1)
        precise = np.cumsum(same, axis=1) / rank * same * (rank <= count)
        self._precision += float((precise / count).sum())
        self._queries += len(rows)

    def result(self) -> dict[str, float]:
        """{"recall@1": …, "map@r": …}; NaN without queries."""
        sums = {**{f"recall@{k}": hit for k, hit in zip(self._at, self._hits, strict=True)}, "map@r": self._precision}
        return {name: float(value / self._queries) if self._queries else float("nan") for name, value in sums.items()}


def retrieval_scores(vectors: np.ndarray, labels: np.ndarray, at: Sequence[int] = RECALL_AT) -> dict[str, float]:
    """The scores of `RetrievalTotals` with each image as a query among all others.

    Args:
        vectors: float (N, D) of length 1.
        labels: int (N,), all from 0 up.
        at: the numbers k.

    Raises:
        UserError: there are fewer than two images.
    """
    if len(vectors) != len(labels) or len(vectors) < 2:
        raise UserError(
            f"expected a label for each of two vectors or more, got {len(labels)} of {len(vectors)}.", "labels"
        )
    totals = RetrievalTotals(labels, at)
    for rows, (neighbors, _) in NeighborIndex(vectors).neighbor_blocks(totals.deepest):
        totals.add(rows, neighbors)
    return totals.result()


def logistic_accuracy(vectors: np.ndarray, labels: np.ndarray, splits: np.ndarray | None = None) -> float:
    """The accuracy of a logistic regression on the vectors, by scikit-learn.

    It learns on "train" and is scored on "val"; without such splits it is the mean of a stratified five-fold
    cross-validation, of fewer folds where a class has fewer images. Of more than 5000 images a fifth is held out once.

    Raises:
        UserError: scikit-learn is not installed; or a class has a single image, or "train" a single class.
    """
    linear, selection = _sklearn()
    # numbers of vectors of length 1 are small: with scikit-learn's C=1 the penalty outweighs the data
    model = linear.LogisticRegression(C=10.0, max_iter=300)
    if splits is not None and {*np.unique(splits)} == {"train", "val"}:
        train = splits == "train"
        if len(np.unique(labels[train])) < 2:
            raise UserError("expected two classes or more in the training set, got one.", "labels")
        return float(model.fit(vectors[train], labels[train]).score(vectors[~train], labels[~train]))
    folds = min(FOLDS, int(np.unique(labels, return_counts=True)[1].min()))
    if folds < 2 or len(np.unique(labels)) < 2:
        raise UserError("expected two classes or more with two images each or more.", "labels")
    if len(labels) > LARGE:
        once = selection.StratifiedShuffleSplit(1, test_size=1 / FOLDS, random_state=0)
        return float(selection.cross_val_score(model, vectors, labels, cv=once).mean())
    shuffled = selection.StratifiedKFold(folds, shuffle=True, random_state=0)
    return float(selection.cross_val_score(model, vectors, labels, cv=shuffled).mean())


def _sklearn():
    try:
        from sklearn import linear_model, model_selection
    except ImportError as error:
        raise UserError('a logistic regression needs scikit-learn: pip install "visiontasks[embed]".') from error
    return linear_model, model_selection
