"""May a map be believed? What a network's score does when the map's best pixels go or come, and other checks.

A map is faithful here if the score falls sooner when its best pixels are taken away, and rises sooner when they are
given, than for a Gaussian in the middle of the image and for random maps, which know nothing of the network; and if
other weights would have given another map.
"""

import dataclasses
import zlib

import cv2
import keras
import numpy as np
from scipy import stats

from visiontasks.explain.masking import random_masks
from visiontasks.explain.scoring import Explained
from visiontasks.geometry import PAD_VALUE

STEPS = 10  # of a curve
RANDOM_MAPS = 3
ALIKE = 0.7  # the rank correlation from which shuffled weights give the same map
LIKELY = 0.05  # a sign test's p, from which a map may have beaten a guess by chance
FEWEST = 5  # images that a sign test can be below it with
LEAST = 1e-6  # a smaller difference of two scores, as a share of the score, cannot be divided by
FAINT = 0.01  # of a map's largest value: less is next to 0
CELLS = 32  # maps are compared on so many cells along an axis


@dataclasses.dataclass(frozen=True)
class Faithfulness:
    """How far one image's map may be believed.

    Attributes:
        deletion, insertion: areas below the curves, see `curves`; a faithful map has a low and a high one. NaN where
            the score of the image is not above that of an empty one.
        gaussian, random: (deletion, insertion) of a centered Gaussian, and the mean of random maps.
        correlation: the rank correlation with the map that shuffled weights give, -1..1; None: not computed; NaN: one
            of the maps is not finite.
        flaw: why the map cannot be ranked; "" if it can.
    """

    deletion: float
    insertion: float
    gaussian: tuple[float, float]
    random: tuple[float, float]
    correlation: float | None = None
    flaw: str = ""

    @property
    def judged(self) -> bool:
        """Whether the image scores above an empty one, without which no curve says anything."""
        return not np.isnan([self.deletion, self.insertion]).any()

    def beats(self, guess: tuple[float, float]) -> bool:
        """Whether insertion less deletion is above that of a guess, (deletion, insertion)."""
        return not self.flaw and self.insertion - self.deletion > guess[1] - guess[0]

    @property
    def reasons(self) -> list[str]:
        """Why it is not faithful; none if it is."""
        if not self.judged:
            return ["the image scores no higher than an empty one"]
        if self.flaw:
            return [self.flaw]
        guesses = {"a Gaussian": self.gaussian, "random": self.random}
        found = [f"no better than {name}" for name, guess in guesses.items() if not self.beats(guess)]
        if self.correlation is not None and np.isnan(self.correlation):
            found.append("other weights give a map that is not finite")
        elif self.correlation is not None and self.correlation >= ALIKE:
            found.append("other weights give the same map")
        return found

    @property
    def faithful(self) -> bool:
        """Whether it beats both, and depends on the weights."""
        return not self.reasons

    def to_json(self) -> dict:
        """JSON-ready values."""
        values = dataclasses.asdict(self)
        del values["flaw"]  # it is the only reason
        return {**values, "faithful": self.faithful, "reasons": self.reasons}


def together(every: list[Faithfulness]) -> dict:
    """What holds over many images, JSON-ready; a single image's curves are noisy.

    Returns:
        {"images", "judged": how many score above an empty image; of these the means "deletion", "insertion",
        "gaussian", "random" and "correlation", and "beats_gaussian", "beats_random", "beats_both": in how many the map
        does; "p": of a sign test, how likely a map that is no better than a guess beats it so often, for the guess of
        which this is larger; "faithful": p is below 0.05 and other weights give other maps, or None: fewer than 5
        images were judged, of which chance may beat a guess in all}.
    """
    judged = [one for one in every if one.judged]
    found = {"images": len(every), "judged": len(judged)}
    if not judged:
        return {**found, "faithful": None}
    for name in ("deletion", "insertion", "gaussian", "random"):
        found[name] = np.mean([getattr(one, name) for one in judged], axis=0).tolist()
    correlations = [one.correlation for one in judged if one.correlation is not None]
    found["correlation"] = float(np.mean(correlations)) if correlations else None
    beaten = np.array([[one.beats(one.gaussian), one.beats(one.random)] for one in judged])
    found |= zip(("beats_gaussian", "beats_random"), beaten.sum(axis=0).tolist(), strict=True)
    found["beats_both"] = int(beaten.all(axis=1).sum())
    found["p"] = float(stats.binomtest(int(beaten.sum(axis=0).min()), len(judged), alternative="greater").pvalue)
    faithful = found["p"] < LIKELY and (found["correlation"] or 0) < ALIKE
    return {**found, "faithful": faithful if len(judged) >= FEWEST else None}


def faithfulness(explained: Explained, maps: np.ndarray, others: np.ndarray | None = None) -> list[Faithfulness]:
    """The Faithfulness of each image's map.

    Args:
        explained: the images and their choices.
        maps: float (B, H, W).
        others: the maps of the same kind that `shuffled` weights give for the same choices; None to leave that check
            out.
    """
    guesses = of_guesses(explained)
    correlations = [None] * len(maps) if others is None else rank_correlations(maps, others)
    return [
        Faithfulness(*areas(explained, row, one), *guesses[row], correlations[row], _flaw(one))
        for row, one in enumerate(maps)
    ]


def _flaw(one):
    if not np.isfinite(one).all():
        return "the map is not finite"
    return "the map is the same everywhere" if np.ptp(one) == 0 else ""


def of_guesses(explained: Explained) -> list[tuple]:
    """For each image the (deletion, insertion) of a Gaussian in its middle, and the mean of random smooth maps.

    Computed once for an Explained. The random maps differ from image to image, and are the same for the same image.
    """
    if explained.guesses is None:
        size, explained.guesses = explained.images.shape[1:3], []
        for row, image in enumerate(explained.images):
            random = random_masks(RANDOM_MAPS, size, 7, 0.5, _generator(image))
            means = np.mean([areas(explained, row, one) for one in random], axis=0)
            explained.guesses.append((areas(explained, row, centered(size)), tuple(means.tolist())))
    return explained.guesses


def _generator(image):
    """A random generator for an image, seeded by its content."""
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(image)))


def areas(explained: Explained, row: int, one: np.ndarray) -> tuple[float, float]:
    """The areas below the deletion and the insertion curve of one image's map, 0..1 but for scores beyond the ends."""
    return tuple(float(np.trapezoid(curve) / (len(curve) - 1)) for curve in curves(explained, row, one))


def curves(explained: Explained, row: int, one: np.ndarray, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """The deletion and the insertion curve of one image's map.

    Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421, section 4.1: the pixels of the highest values become gray, or
    come back into a blurred image. Equal values come in a random order, the same for the same image. Scores may be
    logits, so each curve is shifted and scaled: 1 is the score of the image, 0 that of the empty one.

    Args:
        explained: the images and their choices.
        row: the image's.
        one: its map, float (H, W).
        steps: that all pixels are taken in.

    Returns:
        (float32 (steps + 1,), the same): from none of the pixels to all of them; NaN if the image does not score above
        the empty one.
    """
    image, ranks = explained.images[row].astype(np.float32), np.empty(one.size, np.int64)
    order = _generator(explained.images[row]).permutation(one.size)  # or equal values would come row by row
    ranks[order[np.argsort(-one.ravel()[order], kind="stable")]] = np.arange(one.size)
    shares = ranks.reshape(one.shape) / one.size
    taken = (shares[None] < np.linspace(0, 1, steps + 1)[:, None, None])[..., None]
    gray, blur = np.full_like(image, PAD_VALUE), blurred(image)
    deletion = explained.scores(np.where(taken, gray, image), row)
    insertion = explained.scores(np.where(taken, image, blur), row)
    return _scaled(deletion, deletion[0], deletion[-1]), _scaled(insertion, insertion[-1], insertion[0])


def _scaled(scores, full, empty):
    usable = full - empty > LEAST * max(1.0, abs(full))
    return (scores - empty) / (full - empty) if usable else np.full_like(scores, np.nan)


def blurred(image: np.ndarray) -> np.ndarray:
    """An image of which nothing but the rough colors is left: a Gaussian of a tenth of the longer axis."""
    return cv2.GaussianBlur(image, (0, 0), max(image.shape[:2]) / 10)


def centered(size: tuple[int, int]) -> np.ndarray:
    """float32 (H, W): a Gaussian in the middle, which photographers make a good guess."""
    rows, columns = (((np.arange(length) + 0.5) / length - 0.5) ** 2 for length in size)
    return np.exp(-(rows[:, None] + columns[None]) / (2 * 0.25**2)).astype(np.float32)


def pointing_game(one: np.ndarray, region: np.ndarray) -> bool:
    """Whether a map (H, W) is highest in the region of the object, bool (H, W).

    Zhang et al. 2016, https://arxiv.org/abs/1608.00507, section 4.1, without a margin. Where several pixels are
    highest, all must be in the region, so that an empty map never hits.
    """
    return bool(region[one == one.max()].all())


def boxes_region(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool (H, W): the pixels whose centers lie in one of boxes (N, 4) in pixels."""
    rows, columns = (np.arange(length) + 0.5 for length in size)
    inside = np.zeros(size, bool)
    for x1, y1, x2, y2 in np.reshape(boxes, (-1, 4)):
        inside |= ((rows >= y1) & (rows <= y2))[:, None] & ((columns >= x1) & (columns <= x2))[None]
    return inside


def rank_correlations(maps: np.ndarray, others: np.ndarray) -> list[float]:
    """Spearman's rank correlation of each pair of maps (B, H, W), on coarse cells.

    Cells that are next to 0 in both are left out: far from a box or a joint all maps of it are alike. 1 for two maps
    that say nothing; NaN for maps that are not finite.
    """
    found = []
    for pair in zip(maps, others, strict=True):
        if not np.isfinite(pair).all():
            found.append(float("nan"))
            continue
        size = tuple(min(length, CELLS) for length in maps.shape[1:3])[::-1]
        a, b = (cv2.resize(np.float32(one), size, interpolation=cv2.INTER_AREA).ravel() for one in pair)
        if np.ptp(a) == 0 or np.ptp(b) == 0:
            found.append(1.0 if np.ptp(a) == np.ptp(b) else 0.0)
        else:
            shown = np.any([np.abs(x) >= FAINT * np.abs(x).max() for x in (a, b)], axis=0)
            if min(np.ptp(a[shown]), np.ptp(b[shown])) == 0:
                shown[:] = True
            found.append(float(stats.spearmanr(a[shown], b[shown]).statistic))
    return found


def shuffled(model: keras.Model, seed: int = 0) -> keras.Model:
    """A copy of a VisionModel that has learned nothing: the values of each weight, in a random order.

    Adebayo et al. 2018, https://arxiv.org/abs/1810.03292, section 3, draws new ones; the old ones in another place have
    the right size for every layer, normalizations too.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(shuffled_weights(model, seed))
    return copy


def shuffled_weights(model: keras.Model, seed: int = 0) -> list[np.ndarray]:
    """The values of each weight of a model, in a random order."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(values.ravel()).reshape(values.shape) for values in model.get_weights()]
