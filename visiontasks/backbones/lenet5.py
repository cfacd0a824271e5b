"""LeNet-5: the convolutional network that read checks.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition (1998), section II.B
and figure 2; with plain average pooling and every map of the second convolution connected to all of the first.
"""

from typing import Literal

import keras
from keras import layers, ops

from visiontasks.arguments import InputShape, checked
from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.layers.pixel_normalization import PixelNormalization

# the paper's image size and, on C2, its classification layers
ORIGINAL = {
    "size": (32, 32),
    "classifier": {"classes": 10, "pooling": "flatten", "hidden": (120, 84), "activation": "tanh"},
}


@checked
def lenet5(
    weights: str | None = None,
    input_shape: InputShape = (None, None, 3),
    activation: Literal["tanh", "relu"] = "tanh",
) -> keras.Model:
    """LeNet-5 of 1998: two 5×5 convolutions without padding, each followed by average pooling, on gray images.

    Taps: "C0" (the first convolution, 6 channels), "C1" (the second, 16) and "C2" (its pool). At 32×32 these are 28×28,
    10×10 and 5×5. For the original classification layers, use a `classifier` with pooling flatten, hidden [120, 84] and
    activation tanh on "C2"; with ten classes the network has 61,706 parameters.

    Args:
        weights: a `.keras` or `.weights.h5` file, or None: random.
        input_shape: (height, width, 3), RGB, converted to gray inside; None for a variable size.
        activation: after the convolutions; the paper's is tanh.

    Raises:
        UserError: the weights are not available or do not fit.
    """
    inputs = image_input(input_shape)
    x = PixelNormalization((127.5,) * 3, (127.5,) * 3, name="pixels")(inputs)
    x = ops.image.rgb_to_grayscale(x)
    taps = {}
    for i, filters in enumerate((6, 16)):
        x = layers.Conv2D(filters, 5, activation=activation, name=f"conv{i + 1}")(x)
        taps[f"C{i}"] = x
        x = layers.AveragePooling2D(2, name=f"pool{i + 1}")(x)
    taps["C2"] = x
    model = pyramid_model(inputs, taps, "lenet5")
    load_weights(model, weights)
    return model
