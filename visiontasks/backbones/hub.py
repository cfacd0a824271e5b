"""Backbones of keras-hub and keras-cv, optional extras: pip install "visiontasks[hub]" or "visiontasks[keras-cv]"."""

import re
import warnings
from pathlib import Path

import keras

from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.errors import UserError
from visiontasks.layers.pixel_normalization import PixelNormalization


def hub(
    preset: str | None = None,
    instance=None,
    weights: str | None = "imagenet",
    input_shape: tuple | list = (None, None, 3),
    mean: tuple | list | None = None,
    std: tuple | list | None = None,
) -> keras.Model:
    """A convolutional backbone of keras-hub by its preset, or one of keras-hub or keras-cv given as an instance.

    Taps: its pyramid, under our names: its "P3" is "C3".

    Args:
        preset: a preset of keras-hub such as "resnet_50_imagenet", downloaded once, or a folder that holds one.
        instance: a backbone already made, instead of a preset; in Python only.
        weights: "imagenet" or any other name: the preset's own; a `.keras` or `.weights.h5` file; None: random, and an
            instance keeps what it has.
        input_shape: (height, width, 3); None for a free side.
        mean: the mean to subtract from pixels 0..255; by default what the preset says, else none.
        std: what to divide by then; by default what the preset says, else nothing.

    Raises:
        UserError: keras-hub is missing, the preset cannot be had, or the backbone has no pyramid.
    """
    if (preset is None) == (instance is None):
        raise UserError("preset: expected a preset of keras-hub, or an instance of a backbone, and not both.")
    path = weights if weights is not None and Path(weights).suffix in (".keras", ".h5") else None
    if instance is None:
        instance, preset_mean, preset_std = _from_preset(preset, weights is not None and path is None)
        mean = preset_mean if mean is None else mean
        std = preset_std if std is None else std
    pyramid = _pyramid(instance)
    inputs = image_input(input_shape)
    x = PixelNormalization((0.0,) * 3 if mean is None else mean, (1.0,) * 3 if std is None else std, name="pixels")(
        inputs
    )
    model = pyramid_model(inputs, keras.Model(instance.inputs, pyramid, name=instance.name)(x), "hub")
    if path is not None:
        load_weights(model, path)
    return model


def _from_preset(preset, load_weights):
    try:
        import keras_hub
    except ImportError as error:
        raise UserError(f'backbone hub needs keras-hub ({error}): pip install "visiontasks[hub]"') from error
    try:
        backbone = keras_hub.models.Backbone.from_preset(preset, load_weights=load_weights)
    except Exception as error:  # downloads, credentials, names, files: each fails in its own way
        raise UserError(f"preset: {preset!r} could not be had from keras-hub: {error}") from error
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # as above; and a preset need not have one
        warnings.warn(
            f"preset {preset!r}: no preprocessing could be read ({error}); the network gets pixels of 0 to 255 unless "
            "mean and std are given.",
            stacklevel=2,
        )
        return backbone, None, None
    # its pixels are x * scale + offset
    scale = _three(1.0 if converter.scale is None else converter.scale)
    offset = _three(0.0 if converter.offset is None else converter.offset)
    return backbone, [-o / s for o, s in zip(offset, scale, strict=True)], [1 / s for s in scale]


def _three(value) -> list[float]:
    return [float(v) for v in value] if isinstance(value, (list, tuple)) else [float(value)] * 3


def _pyramid(instance) -> dict:
    """{"C3": tensor, …} of an instance of keras-hub (tensors) or keras-cv (names of layers)."""
    found = getattr(instance, "pyramid_outputs", None)
    if not found:
        names = getattr(instance, "pyramid_level_inputs", None) or {}
        found = {key: instance.get_layer(layer).output for key, layer in names.items()}
    found = {f"C{match[1]}": tensor for key, tensor in found.items() if (match := re.fullmatch(r"P?(\d)", str(key)))}
    if not found:
        raise UserError(
            f"instance: expected a backbone with pyramid_outputs, such as keras_hub.models.ResNetBackbone; "
            f"got {type(instance).__name__}, which has none."
        )
    return found
