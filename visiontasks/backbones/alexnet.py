"""AlexNet: the network that won ImageNet in 2012.

A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks (2012),
figure 2, in one tower. torchvision's form is A. Krizhevsky: One weird trick for parallelizing
convolutional neural networks (2014), https://arxiv.org/abs/1404.5997: fewer filters, no response normalization.
"""

from typing import Literal

import keras
from keras import layers

from visiontasks.arguments import InputShape, checked
from visiontasks.backbones.backbone import image_input, load_weights, pyramid_model
from visiontasks.layers.local_response_normalization import LocalResponseNormalization
from visiontasks.layers.pixel_normalization import IMAGENET, PixelNormalization
from visiontasks.weights import alexnet as checkpoints
from visiontasks.weights import torchvision

# the paper's image size and classification layers; torchvision's form takes 224×224
ORIGINAL = {"size": (227, 227), "classifier": {"classes": 1000, "pooling": "flatten", "hidden": (4096, 4096)}}
# filters of the five convolutions, padding of the first, whether responses are normalized
_FORMS = {"paper": ((96, 256, 384, 384, 256), 0, True), "torchvision": ((64, 192, 384, 256, 256), 2, False)}


@checked
def alexnet(
    weights: str | None = None,
    input_shape: InputShape = (None, None, 3),
    form: Literal["paper", "torchvision"] | None = None,
    strict: bool = True,
) -> keras.Model:
    """AlexNet of 2012: five convolutions, the first 11×11 at stride 4, with overlapping pools.

    Taps: "C2" (the first convolution), "C3" (the second), "C4" (the fifth) and "C5" (the last pool): 96, 256, 256, 256
    channels in the paper's form. For the original classification layers, use a `classifier` with pooling flatten and
    hidden [4096, 4096] on "C5", at 227×227 in the paper's form and 224×224 in torchvision's.

    Args:
        weights: "imagenet" (torchvision's), a PyTorch checkpoint with torchvision's names, a `.keras` or `.weights.h5`
            file, or None: random.
        input_shape: (height, width, 3); None for a variable size.
        form: "paper" or "torchvision"; None: torchvision's form for torchvision's weights, otherwise the paper's.
        strict: whether a checkpoint must fit completely; otherwise what fits is loaded and the rest is reported.

    Raises:
        UserError: the weights are not available or do not fit.
    """
    form = form or ("torchvision" if torchvision.has_names_of(weights) else "paper")
    file = torchvision.file_of("alexnet", weights)
    filters, border, normalized = _FORMS[form]
    inputs = image_input(input_shape)
    x = PixelNormalization(**IMAGENET, name="pixels")(inputs)
    if border:
        x = layers.ZeroPadding2D(border, name="conv1_pad")(x)
    taps = {}
    plan = zip(filters, (11, 5, 3, 3, 3), ("C2", "C3", None, None, "C4"), strict=True)
    for i, (count, kernel, tap) in enumerate(plan, start=1):
        first = i == 1
        x = layers.Conv2D(
            count,
            kernel,
            4 if first else 1,
            padding="valid" if first else "same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"conv{i}",
        )(x)
        if normalized and i < 3:
            # the paper's alpha of 1e-4, times the size by which the layer divides
            x = LocalResponseNormalization(bias=2.0, alpha=5e-4, name=f"norm{i}")(x)
        if tap:
            taps[tap] = x
            x = layers.MaxPooling2D(3, 2, name=f"pool{i}")(x)
    taps["C5"] = x
    model = pyramid_model(inputs, taps, "alexnet")
    load_weights(model, file, checkpoints.layer_of, strict)
    return model
