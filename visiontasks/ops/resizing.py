"""Levels of a pyramid enlarged to a finer one, or to the image, so that each cell stays over its own pixels."""

from keras import ops


def fit_to(x, size, factor: int, done: int = 1):
    """A level at exactly the size of one that is `factor` times finer: enlarged bilinearly what is left to enlarge.

    A level whose size was rounded up reaches over the border by less than `factor`; this is cut. If an encoder without
    padding lost rows, there is no such factor, and the map is resized to the size.

    Args:
        x: (B, h, w, C).
        size: (height, width) of the finer one.
        factor: the ratio of the strides.
        done: what `x` has been enlarged by already, a divisor of the factor.

    Returns:
        (B, height, width, C).

    Raises:
        ValueError: the sizes are not known.
    """
    present, size, left = tuple(x.shape[1:3]), tuple(size), factor // done
    if left == 1 and present == size:
        return x
    if None in (*present, *size):
        raise ValueError("the image's height and width must be known when the model is called.")
    over = tuple(length * left for length in present)
    if all(0 <= more - length < factor for more, length in zip(over, size, strict=True)):
        return _resized(x, over)[:, : size[0], : size[1]]
    return _resized(x, size)


def _resized(x, size):
    if tuple(x.shape[1:3]) == size:
        return x
    # float32: XLA refuses the gradient of bilinear resizing in half precision (TensorFlow 2.21)
    resized = ops.image.resize(ops.cast(x, "float32"), size, interpolation="bilinear", data_format="channels_last")
    return ops.cast(resized, x.dtype)
