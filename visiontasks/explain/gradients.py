"""`gradients`: on TensorFlow, JAX and PyTorch alike; the one file of this room that knows which of them runs."""

from collections.abc import Callable

from keras import backend, ops

# {dtype of the layers: what gradients are multiplied with on the way back, so that they do not vanish}
SCALES = {"float16": 2.0**7}


def gradients(function: Callable, array, scale: float = 1.0) -> tuple:
    """What a function gives for each image, and the gradients of that by what went in.

    Args:
        function: a tensor (B, …) to (B,), a number an image, of which each depends on its own image alone.
        array: the function's argument, floating (B, …).
        scale: a factor on the way back, which the result does not have: gradients of float16 layers, such as 2⁻²⁵,
            would be 0 without.

    Returns:
        (values (B,), gradients of the shape and dtype of `array`, zeros where the function does not depend on it);
        tensors of the backend.
    """
    array = ops.stop_gradient(ops.convert_to_tensor(array))
    values, slopes = _BACKENDS[backend.backend()](function, array, scale)
    return values, slopes / scale


def _tensorflow(function, array, scale):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(array)
        values = function(array)
        total = ops.sum(values) * scale
    return values, tape.gradient(total, array, unconnected_gradients="zero")


def _jax(function, array, scale):
    import jax

    def total(array):
        values = function(array)
        return ops.sum(values) * scale, values

    (_, values), slopes = jax.value_and_grad(total, has_aux=True)(array)
    return values, slopes


def _torch(function, array, scale):
    import torch

    with torch.enable_grad():
        array = array.detach().requires_grad_()
        values = function(array)
        if not values.requires_grad:
            return values.detach(), torch.zeros_like(array)
        (slopes,) = torch.autograd.grad(torch.sum(values) * scale, array, allow_unused=True, materialize_grads=True)
    return values.detach(), slopes


_BACKENDS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
