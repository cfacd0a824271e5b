"""How every loss becomes one number: the mean over what was labelled."""

from keras import ops


def masked_mean(values, labelled):
    """Mean of `values` where `labelled` is true; 0, without a gradient, where nothing is.

    Args:
        values: float32, any shape; may be NaN-free garbage where not labelled.
        labelled: bool, the same shape.
    """
    weights = ops.cast(labelled, "float32")
    total = ops.sum(ops.where(labelled, values, 0.0))
    return total / ops.maximum(ops.sum(weights), 1.0)
