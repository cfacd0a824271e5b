"""Batch normalization in one operation. TensorFlow's alone.

Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, algorithm 1. Keras computes moments, normalizes, and computes
both gradients in passes of their own, over float32 copies of half-precision features. `FusedBatchNormV3` needs one pass
each: on a CPU a whole training step takes 0.55 to 0.9 of its time (docs/benchmarks.md).
"""

from keras import backend, ops


def can_fuse(x) -> bool:
    """Whether the backend has the operation for these features."""
    return backend.backend() == "tensorflow" and len(x.shape) == 4 and backend.standardize_dtype(x.dtype) != "float64"


def fused(x, scale, offset, epsilon: float, mean=None, variance=None):
    """Normalize each channel, then scale and shift it.

    Args:
        x: (B, H, W, C) float32, float16 or bfloat16.
        scale, offset: (C,) float32.
        epsilon: added to the variance.
        mean, variance: (C,) float32 to normalize by; by default those of the batch.

    Returns:
        (the normalized features, in the dtype of x; mean and biased variance, float32, that they were normalized by).
    """
    from tensorflow import raw_ops

    training = mean is None
    none = ops.zeros(0)
    y, batch_mean, unbiased, *_ = raw_ops.FusedBatchNormV3(
        x=x,
        scale=scale,
        offset=offset,
        mean=none if training else mean,
        variance=none if training else variance,
        epsilon=epsilon,
        is_training=training,
    )
    if not training:
        return y, mean, variance
    count = ops.cast(ops.prod(ops.shape(x)[:3]), "float32")
    return y, batch_mean, unbiased * ((count - 1) / count)


def shifted(x, shift):
    """Features (B, H, W, C) plus one number per channel (C,), in the features' dtype."""
    shift = ops.cast(shift, x.dtype)
    if backend.backend() != "tensorflow":
        return x + shift
    from tensorflow import nn

    return nn.bias_add(x, shift)  # which TensorFlow computes within the convolution before, unlike a sum
