"""Dreams: images that excite a channel, made by gradients from noise (feature visualization)."""

import keras
import numpy as np
from keras import ops

from visiontasks.errors import UserError
from visiontasks.explain.channels import check_channels
from visiontasks.explain.gradients import SCALES, gradients

SIZE = (224, 224)  # of backbones that take any
STEPS = 128
RATE = 0.05  # of Adam
NOISE, CONTRAST = 0.01, 0.25  # standard deviation of the first spectrum; a factor before the sigmoid
SHIFT, TURN, ZOOM = 8, 5, 0.05  # the largest jitter in pixels, rotation in degrees, and change of scale
# how the colors of natural images vary together: the square root of their covariance over ImageNet, as published with
# Olah et al. 2017; of a decorrelated color the columns are lightness, blue to red, and green to the others
COLORS = np.float32([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])


def dream(
    backbone: keras.Model,
    tap: str,
    channels: list[int],
    *,
    size: tuple[int, int] | None = None,
    steps: int = STEPS,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """An image for each channel that excites it: the mean of its feature map, made large by gradients from noise.

    Olah et al. 2017, https://distill.pub/2017/feature-visualization. Adam changes the image's spectrum, in which each
    coefficient counts in inverse proportion to its frequency, and decorrelated colors: so an image changes as natural
    images vary. In each step the network sees it shifted, rotated and scaled a little, so that fine noise is no gain.

    Args:
        backbone: a functional keras.Model from images; that of a VisionModel, or of `vt.backbone`.
        tap: one of its outputs, such as C4.
        channels: their numbers.
        size: (height, width) of the images; None for the backbone's, or 224×224 if it takes any.
        steps: of Adam.
        seed: of the noise and the shifts.

    Returns:
        (uint8 (channels, H, W, 3), the images; float32 (channels,), the means over the feature maps that they give).

    Raises:
        UserError: there is no such tap or channel, or the backbone takes another size alone.
    """
    check_channels(backbone, tap, channels)
    size = _size(backbone, size)
    network, rng = keras.Function(backbone.input, backbone.output[tap]), np.random.default_rng(seed)
    chosen = ops.one_hot(ops.convert_to_tensor(channels), backbone.output[tap].shape[-1])
    spectra = keras.Variable(NOISE * rng.standard_normal((len(channels), 3, *size)), dtype="float32")
    scales = ops.convert_to_tensor(_scales(size))
    adam = keras.optimizers.Adam(RATE)
    scale = SCALES.get(keras.backend.standardize_dtype(backbone.output[tap].dtype), 1.0)

    def means(images):
        return ops.sum(ops.mean(ops.cast(network(images), "float32"), axis=(1, 2)) * chosen, axis=-1)

    for _ in range(steps):
        moved = ops.convert_to_tensor(np.repeat(_motion(size, rng), len(channels), axis=0))
        _, slopes = gradients(lambda x, m=moved: means(_seen(_image(x, scales), m)), spectra.value, scale)
        adam.apply([-slopes], [spectra])
    images = ops.convert_to_numpy(ops.round(_image(spectra.value, scales))).astype(np.uint8)
    return images, ops.convert_to_numpy(means(ops.convert_to_tensor(images, "float32")))


def _size(backbone, size):
    own = backbone.input.shape[1:3]
    size = tuple(size or (length or usual for length, usual in zip(own, SIZE, strict=True)))
    if any(length not in (None, given) for length, given in zip(own, size, strict=True)):
        raise UserError(f"expected {own[0]}×{own[1]}, which the backbone is built for; got {size}.", "size")
    return size


def _scales(size):
    """float32 (H, W): what each frequency is multiplied with, 1 over its length, and below one period all alike."""
    lengths = np.hypot(*np.meshgrid(*(np.fft.fftfreq(length) for length in size), indexing="ij"))
    return np.float32(1 / np.maximum(lengths, 1 / max(size)) / np.sqrt(np.prod(size)))


def _image(spectra, scales):
    """float32 (B, H, W, 3), 0..255, of spectra (B, 3, H, W): of real numbers, by the Hartley transform, Re F − Im F."""
    scaled = spectra * scales
    real, imaginary = ops.fft2((scaled, ops.zeros_like(scaled)))
    colors = ops.convert_to_tensor(COLORS / np.linalg.norm(COLORS, axis=0).max())
    return 255 * ops.sigmoid(ops.einsum("bkhw,ck->bhwc", CONTRAST * (real - imaginary), colors))


def _motion(size, rng):
    """float32 (1, 8): a random shift, rotation and scale about the middle, as `affine_transform` takes them."""
    angle, zoom = np.deg2rad(rng.uniform(-TURN, TURN)), 1 + rng.uniform(-ZOOM, ZOOM)
    turned = zoom * np.float64([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.float64(size[::-1]) - 1) / 2
    shift = middle - turned @ middle + rng.integers(-SHIFT, SHIFT + 1, 2)
    return np.float32([[*turned[0], shift[0], *turned[1], shift[1], 0, 0]])


def _seen(images, motion):
    return ops.image.affine_transform(images, motion, fill_mode="reflect", data_format="channels_last")
