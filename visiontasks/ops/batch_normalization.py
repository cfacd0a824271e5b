"""Batch normalization in one operation. TensorFlow's alone.

Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, algorithm 1. Keras computes the moments, the outputs and both
gradients in passes of their own, over float32 copies of half-precision features. `FusedBatchNormV3` reads the features
once forward and once backward; docs/benchmarks.md says what that saves.
"""

from keras import backend, ops


def can_fuse(x) -> bool:
    """Whether the backend has the operation for these features, and computes it as exactly as Keras does."""
    if backend.backend() != "tensorflow" or len(x.shape) != 4 or backend.standardize_dtype(x.dtype) == "float64":
        return False
    # private: TensorFlow has no public way to ask. XLA fuses Keras's passes by itself; its form of this operation loses
    # the variance of channels whose mean is large, and gives NaN
    from tensorflow.python.framework.ops import get_default_graph
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    return not GraphOrParentsInXlaContext(get_default_graph())


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
    none = ops.zeros(0, "float32")
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
