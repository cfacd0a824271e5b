"""`Explained`: what a head predicts for images, and its score of them after pixels or features have changed."""

import keras
import numpy as np
from keras import ops

from visiontasks.errors import UserError, near
from visiontasks.explain.gradients import SCALES, gradients
from visiontasks.heads.choices import Choice


class Explained:
    """One prediction of a head for each image of a batch, and how the head scores changed images for it.

    Args:
        model: a VisionModel.
        images: uint8 (B, H, W, 3), of a size that the model takes.
        target: what is explained: the name or the number of a class, a tag or a keypoint; of a head that explains
            several kinds "KIND:NAME", such as "mask:person" or "joint:nose", or "KIND"; None for the usual kind and its
            strongest prediction in each image.
        head: the head's name; None if there is one.
        box: float32 (4,) or (B, 4), x1, y1, x2, y2 in pixels: where to look for it; None for the whole image.
        choice: instead of target and box, that of another Explained of the same images, such as of the same model with
            other weights, which would choose another place; None to choose.

    Raises:
        UserError: there is no such head or target, the images are not uint8 (B, H, W, 3), or a choice is given together
            with a target or a box.

    Attributes:
        choice: the Choice, which stays fixed.
        features: {tap: tensor (B, h, w, C)} of the images, what the head taps; and the images themselves.
        levels: the names of the levels that the head taps, finest first; or of its only tap.
        guesses: what the curves of guessed maps have given, see `believing.of_guesses`; None until they are computed.
    """

    def __init__(self, model, images, target=None, head: str | None = None, box=None, choice: Choice | None = None):
        images = np.asarray(images)
        if choice is not None and (target is not None or box is not None):
            raise UserError("it says what is explained, and where; leave target and box out.", "choice")
        if images.dtype != np.uint8 or images.ndim != 4:
            raise UserError(
                f"expected uint8 (B, H, W, 3), a batch as `predict` takes it; got {images.dtype} {images.shape}.",
                "images",
            )
        self.images, self.head = images, _head(model, head)
        name = next(name for name, one in model.heads.items() if one is self.head)
        self.taps = tuple(model.taps[name])
        self.levels = tuple(tap.name for tap in self.head.tapped) or tuple(t for t in self.taps if t != "image")
        outputs = model.backbone.output
        # a Function, unlike a Model, leaves floating pixels as they are: a Model would round them to uint8
        self._network = keras.Function(model.backbone.input, {tap: outputs[tap] for tap in self.taps if tap in outputs})
        self._scale = SCALES.get(self.head.compute_dtype, 1.0)
        self.features, self._slopes = self._features(images), {}
        self.guesses = None
        if choice is None:
            kind, number = resolve(self.head, target)
            if box is not None:
                if kind in ("class", "tag"):
                    raise UserError(f"a {kind} is predicted for the whole image; leave it out.", "box")
                box = np.broadcast_to(np.float32(box), (len(images), 4))
            choice = self.head.choose(self.head(self.features, training=False), kind, number, box)
        self.choice, self.kind = choice, choice.kind

    def _features(self, images):
        images = ops.cast(ops.convert_to_tensor(images), "float32")
        found = {**self._network(images), "image": images}
        return {tap: found[tap] for tap in self.taps}

    @property
    def of_the_whole_image(self) -> bool:
        """Whether the prediction is the whole image's, a class or a tag, and not that of a place in it."""
        return self.kind in ("class", "tag")

    @property
    def names(self) -> list[str]:
        """The name of what is explained, for each image."""
        names = self.head.names_of(self.kind)
        return [names[number] for number in ops.convert_to_numpy(self.choice.number).tolist()]

    def _score(self, features, choice):
        return ops.cast(self.head.score(self.head.outputs_to_score(features), choice), "float32")

    def scores(self, images=None, row: int | None = None, batch: int = 32) -> np.ndarray:
        """float32 (N,): the scores of changed images for their rows' choices, or all for that of one row.

        Args:
            images: uint8 or float (N, H, W, 3), 0..255; None for the images as they are.
            row: of the choice; None if there is an image for each row.
            batch: images that are computed at once.
        """
        images = self.images if images is None else images
        if row is None:
            return ops.convert_to_numpy(self._score(self._features(images), self.choice))
        parts = [images[start : start + batch] for start in range(0, len(images), batch)]
        found = [self._score(self._features(part), self.choice.row(row, len(part))) for part in parts]
        return np.concatenate([ops.convert_to_numpy(part) for part in found])

    def pixel_gradients(self, images, row: int | None = None) -> np.ndarray:
        """float32 (N, H, W, 3): the gradients of the scores by the pixels of changed images; `row` as for `scores`."""
        choice = self.choice if row is None else self.choice.row(row, len(images))
        images = ops.cast(ops.convert_to_tensor(images), "float32")
        _, found = gradients(lambda x: self._score(self._features(x), choice), images, self._scale)
        return ops.convert_to_numpy(found)

    def feature_gradients(self, tap: str) -> tuple[np.ndarray, np.ndarray]:
        """A tap's features and the gradients of the scores by them, float32 (B, h, w, C): one pass of the head."""
        if tap in self._slopes:
            return self._slopes[tap]
        features = ops.cast(self.features[tap], "float32")

        def score(changed):
            half = ops.cast(changed, self.features[tap].dtype)
            return self._score({**self.features, tap: half}, self.choice)

        _, found = gradients(score, features, self._scale)
        self._slopes[tap] = ops.convert_to_numpy(features), ops.convert_to_numpy(found)
        return self._slopes[tap]


def _head(model, name):
    if name is None and len(model.heads) > 1:
        raise UserError(f"the model has several: give one of {', '.join(model.heads)}.", "head")
    if name is not None and name not in model.heads:
        raise UserError(f"unknown name {name!r}. {near(str(name), model.heads)}", "head")
    return model.heads[name or next(iter(model.heads))]


def resolve(head, target) -> tuple[str, int | None]:
    """The kind and the number of a target of a head; see `Explained`.

    Raises:
        UserError: the head explains no such kind, or has no class or keypoint of this name or number.
    """
    if not head.explains:
        raise UserError(f"head {head.name!r} cannot be explained: it has no `choose` and `score`.", "head")
    if target is None:
        return head.explains[0], None
    word = str(target)
    kind, colon, rest = word.partition(":")
    if kind in head.explains and (not colon or rest):
        return (kind, _number(head, kind, rest)) if rest else (kind, None)
    for kind in head.explains:
        if word in head.names_of(kind) or word.isdecimal():
            return kind, _number(head, kind, word)
    known = [name for kind in head.explains for name in (kind, *head.names_of(kind))]
    raise UserError(f"head {head.name!r} has no {word!r}. {near(word, dict.fromkeys(known))}", "target")


def _number(head, kind, word):
    names = head.names_of(kind)
    if word in names:
        return names.index(word)
    if word.isdecimal() and int(word) < len(names):
        return int(word)
    raise UserError(
        f"expected a {kind} by name or as a number below {len(names)}, got {word!r}. {near(word, names)}", "target"
    )
