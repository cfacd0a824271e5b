"""Backbones of keras-hub and keras-cv, optional extras: pip install "visiontasks[hub]" or "visiontasks[keras-cv]"."""

import re
import warnings
from pathlib import Path

import keras

from visiontasks.arguments import InputShape, Positive, checked
from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.errors import UserError
from visiontasks.layers.pixel_normalization import PixelNormalization


@checked
def hub(
    preset: str | None = None,
    instance=None,
    weights: str | None = "imagenet",
    input_shape: InputShape = (None, None, 3),
    mean: tuple[float, float, float] | None = None,
    std: tuple[Positive, Positive, Positive] | None = None,
) -> keras.Model:
    """A convolutional backbone of keras-hub by its preset, or an instance of a keras-hub or keras-cv backbone.

    Taps: the levels of its pyramid: its "P3" is "C3".

    Args:
        preset: a preset of keras-hub such as "resnet_50_imagenet", downloaded once, or the folder of one.
        instance: a backbone instance, instead of a preset; in Python only.
        weights: "imagenet" or another name: the preset's weights; a `.keras` or `.weights.h5` file; None: random; an
            instance keeps its weights.
        input_shape: (height, width, 3); None for a variable size.
        mean: subtracted from the pixels 0..255; by default the preset's, or zero.
        std: the divisor after that; by default the preset's, or one.

    Raises:
        UserError: keras-hub is not installed, the preset is not available, or the backbone has no pyramid.
    """
    if (preset is None) == (instance is None):
        raise UserError("expected either a preset of keras-hub or an instance of a backbone.", "preset")
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
    except Exception as error:  # downloads, credentials, names and files raise different types
        raise UserError(f"{preset!r} could not be loaded from keras-hub: {error}", "preset") from error
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # as above; also, a preset need not have a converter
        warnings.warn(
            f"preset {preset!r}: its preprocessing could not be read ({error}); the network gets pixels of 0 to 255 "
            "unless mean and std are given.",
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
    """{"C3": tensor, …} of an instance of keras-hub (tensors) or keras-cv (layer names)."""
    outputs = getattr(instance, "pyramid_outputs", None)
    if not outputs:
        names = getattr(instance, "pyramid_level_inputs", None) or {}
        outputs = {key: instance.get_layer(layer).output for key, layer in names.items()}
    levels = {f"C{match[1]}": tensor for key, tensor in outputs.items() if (match := re.fullmatch(r"P?(\d)", str(key)))}
    if not levels:
        raise UserError(
            f"expected a backbone with pyramid_outputs, such as keras_hub.models.ResNetBackbone; "
            f"got {type(instance).__name__}, which has none.",
            "instance",
        )
    return levels
