"""`Choice`: the one prediction of a head that is explained; and what heads need to choose and to score it."""

from typing import NamedTuple

from keras import ops

from visiontasks.ops.masks import cells_in


class Choice(NamedTuple):
    """What is explained of each image of a batch: chosen once from a head's raw outputs, then fixed.

    Args:
        kind: class, tag, box, mask or joint.
        number: int32 (B,): of the class, the tag or the keypoint.
        box: float32 (B, 4) in pixels: of the object; None without one.
        cells: bool (B, …): the pixels, the cells of a map or of a box that the score is the mean of; None without any.
    """

    kind: str
    number: object
    box: object = None
    cells: object = None

    def row(self, number: int, count: int = 1) -> "Choice":
        """The choice of one image, `count` times."""
        parts = (None if x is None else ops.repeat(x[number : number + 1], count, axis=0) for x in self[1:])
        return Choice(self.kind, *parts)


def for_images(number, batch):
    """A number, or one an image, as int32 (B,)."""
    return ops.broadcast_to(ops.cast(ops.convert_to_tensor(number), "int32"), (batch,))


def of_number(values, number):
    """The column of each image: (B, …, C) and int32 (B,) to float32 (B, …)."""
    rows = ops.reshape(number, (-1, *(1,) * (len(values.shape) - 1)))
    rows = ops.broadcast_to(rows, (*ops.shape(values)[:-1], 1))
    return ops.squeeze(ops.take_along_axis(ops.cast(values, "float32"), rows, axis=-1), -1)


def strongest(values):
    """int32 (B,): the number of each image's largest value of (B, C)."""
    return ops.cast(ops.argmax(values, axis=-1), "int32")


def inside(box, cells: tuple[int, int], stride: float = 1):
    """bool (B or 1, h, w): the cells of a map whose centers lie in boxes (B, 4) in pixels; all for no box."""
    if box is None:
        return ops.ones((1, *cells), "bool")
    box = ops.expand_dims(ops.convert_to_tensor(box, "float32"), 1)
    return cells_in(box, ops.ones(ops.shape(box)[:2], "bool"), cells, stride)


def peaks(values, allowed=True):
    """bool (B, …): where each image's largest value among those allowed is; of several, all."""
    values = ops.where(allowed, values, -1e30)
    return values == ops.max(values, axis=tuple(range(1, len(values.shape))), keepdims=True)


def mean_over(values, cells):
    """float32 (B,): the mean of values (B, …) over cells, bool of the same shape."""
    axes = tuple(range(1, len(values.shape)))
    kept, values = ops.cast(cells, "float32"), ops.cast(values, "float32")
    return ops.sum(kept * values, axis=axes) / ops.maximum(ops.sum(kept, axis=axes), 1.0)


def choose_joint(maps, kind, number, box, stride: float) -> Choice:
    """The peak of a keypoint's map (B, h, w, K) inside boxes; by default of the keypoint with the highest peak."""
    batch, count = ops.shape(maps)[0], maps.shape[-1]
    allowed = inside(box, tuple(maps.shape[1:3]), stride)
    if number is None:
        heights = ops.where(ops.expand_dims(allowed, -1), ops.cast(maps, "float32"), -1e30)
        number = strongest(ops.max(ops.reshape(heights, (batch, -1, count)), axis=1))
    number = for_images(number, batch)
    return Choice(kind, number, cells=peaks(of_number(maps, number), allowed))


def score_joint(maps, choice: Choice):
    """float32 (B,): a keypoint's map (B, h, w, K) at its peak."""
    return mean_over(of_number(maps, choice.number), choice.cells)


def choose_pixels(logits, kind, number, box) -> Choice:
    """The pixels of an image's logits (B, H, W, C) predicted as a class, or where there are none, the likeliest one.

    By default of the class with the highest mean probability, without the first, which is background.
    """
    probabilities = ops.softmax(ops.cast(logits, "float32"), axis=-1)
    allowed, first = inside(box, tuple(logits.shape[1:3])), min(1, logits.shape[-1] - 1)
    if number is None:
        means = ops.sum(probabilities * ops.cast(ops.expand_dims(allowed, -1), "float32"), axis=(1, 2))
        number = strongest(means[:, first:]) + first
    number = for_images(number, ops.shape(logits)[0])
    predicted = ops.logical_and(strongest(probabilities) == ops.reshape(number, (-1, 1, 1)), allowed)
    likeliest = peaks(of_number(probabilities, number), allowed)
    cells = ops.where(ops.any(predicted, axis=(1, 2), keepdims=True), predicted, likeliest)
    return Choice(kind, number, cells=cells)
