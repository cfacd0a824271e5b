"""The contracting path of U-Net.

O. Ronneberger, P. Fischer, T. Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation (2015),
https://arxiv.org/abs/1505.04597, section 2 and figure 1.
"""

import keras
from keras import layers

from visiontasks.arguments import Channels, InputShape, Share, between, checked
from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.layers.batch_normalization import BatchNormalization
from visiontasks.layers.pixel_normalization import PixelNormalization


@checked
def unet_encoder(
    weights: str | None = None,
    input_shape: InputShape = (None, None, 3),
    filters: Channels = 64,
    depth: between(1, 10, kind=int) = 5,
    batch_norm: bool = True,
    dropout: Share = 0.0,
) -> keras.Model:
    """U-Net's plain encoder of 2015: two 3×3 convolutions per level, 2×2 max pooling between, filters doubling.

    Taps: "C0" (full resolution) to "C4" with the paper's depth of 5, i.e. 64, 128, 256, 512, 1024 channels. Two
    differences from the paper: the convolutions pad, so that sizes halve exactly, and batch norm is on by default.

    Args:
        weights: a `.keras` or `.weights.h5` file, or None: random (He et al., as section 3 of the paper).
        input_shape: (height, width, 3); None for a variable size.
        filters: channels of the first level.
        depth: number of levels, 1 to 10.
        batch_norm: normalize after each convolution.
        dropout: the rate at the end of the path (section 3.1 of the paper, which gives no number).

    Raises:
        UserError: the weights are not available, or an argument does not fit.
    """
    inputs = image_input(input_shape)
    x = PixelNormalization((127.5,) * 3, (127.5,) * 3, name="pixels")(inputs)
    taps = {}
    for level in range(depth):
        if level:
            x = layers.MaxPooling2D(2, padding="same", name=f"level{level}_pool")(x)
        for half in ("a", "b"):
            name = f"level{level}{half}"
            x = layers.Conv2D(
                filters * 2**level,
                3,
                padding="same",
                use_bias=not batch_norm,
                kernel_initializer="he_normal",
                name=f"{name}_conv",
            )(x)
            if batch_norm:
                x = BatchNormalization(name=f"{name}_bn")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
        if dropout and level == depth - 1:
            x = layers.Dropout(dropout, name="dropout")(x)
        taps[f"C{level}"] = x
    model = pyramid_model(inputs, taps, "unet_encoder")
    load_weights(model, weights)
    return model
